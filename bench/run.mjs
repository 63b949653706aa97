import fs from 'node:fs'
import { parseArgs } from 'node:util'
import { conditions } from './lib/conditions.mjs'
import { makeLog } from './lib/log.mjs'
import { figuresTable, table } from './lib/table.mjs'
import { find, scenarios } from './scenarios/index.mjs'

const results = new URL('./results/', import.meta.url)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean' },
    quick: { type: 'boolean' },
    plots: { type: 'boolean' },
    rounds: { type: 'string' },
  },
})
const quick = values.quick ?? false
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
    rows.push(...result.rows)
    save(scenario.name, { conditions: under, ...result, failed: Object.fromEntries(result.failed) })
  }
  console.log(`\n${table(rows)}\n`)
}

function save(name, result) {
  fs.writeFileSync(new URL(`${name}.json`, results), `${JSON.stringify(result, null, 2)}\n`)
}

async function plot() {
  const { draw } = await import('./plots/index.mjs')
  await draw(results)
}

function stop(message) {
  console.error(message)
  process.exit(1)
}
