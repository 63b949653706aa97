import fs from 'node:fs'
import { parseArgs } from 'node:util'
import { label } from './contestants/index.mjs'
import { conditions } from './lib/conditions.mjs'
import { makeLog } from './lib/log.mjs'
import { fact } from './lib/rows.mjs'
import { figuresTable, table } from './lib/table.mjs'
import { find, scenarios } from './scenarios/index.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    beside: { type: 'string' },
    list: { type: 'boolean' },
    quick: { type: 'boolean' },
    plots: { type: 'boolean' },
    rounds: { type: 'string' },
  },
})
const quick = values.quick ?? false
// A try does not take the place of results that count.
const results = new URL(
  values.beside ? './results/beside/' : quick ? './results/quick/' : './results/',
  import.meta.url,
)
const rounds = Number(values.rounds ?? (quick ? 3 : 7))
if (!Number.isInteger(rounds) || rounds < 1) stop('--rounds takes a whole number from 1 on')

if (values.list) {
  for (const { name, title } of scenarios) console.log(`${name.padEnd(16)}${title}`)
} else if (values.plots) {
  await plot()
} else {
  await measure(chosen())
  await plot()
}
process.exit()

function chosen() {
  if (positionals.length === 0) return scenarios
  const unknown = positionals.find((name) => find(name).length === 0)
  if (unknown) stop(`There is no scenario ${unknown}: --list names them`)
  return scenarios.filter((scenario) => positionals.some((name) => find(name).includes(scenario)))
}

async function measure(scenarios) {
  const log = makeLog()
  const under = conditions({ rounds, quick })
  log.title(`${under.cpu}, ${under.cores} cores, ${under.kernel}, Node ${under.node}`)
  log.title(under.server)
  for (const { label, version, client, settings } of Object.values(under.contestants)) {
    log.title(`${label} ${version}, client ${client}: ${JSON.stringify(settings)}`)
  }
  fs.mkdirSync(results, { recursive: true })
  const rows = []
  for (const scenario of scenarios) {
    const start = performance.now()
    log.title(`\n${scenario.name}: ${scenario.title}`)
    const result = await scenario.run({ rounds, quick, log })
    log.wipe()
    if (result.figures) log.title(figuresTable(result.figures))
    log.title(`  ${Math.round((performance.now() - start) / 1000)} s`)
    const { name } = scenario
    for (const [who, why] of result.failed) result.rows.push(fact(name, 'not finished', label(who), why))
    rows.push(...result.rows)
    save(scenario.name, { conditions: under, ...result, failed: Object.fromEntries(result.failed) })
  }
  console.log(`\n${table(rows)}\n`)
}

/** All that was measured in a file for the scenario, and without the rounds in the summary that plots are drawn of. */
function save(name, result) {
  write(`${name}.json`, result)
  const { rounds: _, ...short } = result
  write('summary.json', { ...read('summary.json'), [name]: short })
}

function write(file, content) {
  fs.writeFileSync(new URL(file, results), `${JSON.stringify(content, finite, 2)}\n`)
}

function read(file) {
  const path = new URL(file, results)
  return fs.existsSync(path) ? JSON.parse(fs.readFileSync(path, 'utf8')) : {}
}

/** JSON has no word for it. */
function finite(_key, value) {
  return value === Infinity ? 'Infinity' : value
}

async function plot() {
  const { draw } = await import('./plots/index.mjs')
  for (const [file, svg] of Object.entries(draw(read('summary.json')))) {
    fs.writeFileSync(new URL(file, results), svg)
  }
}

function stop(message) {
  console.error(message)
  process.exit(1)
}
