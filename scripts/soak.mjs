// Runs the JavaScript tests again and again, each time in another order, while every core is kept busy with something else.
// Stops at the first failure. `--rounds=5` instead of 20; all else goes to jest.
import { spawn, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const isRounds = (argument) => argument.startsWith('--rounds=')
const own = process.argv.slice(2).filter(isRounds)
const rest = process.argv.slice(2).filter((argument) => !isRounds(argument))
const rounds = Number(own[0]?.slice('--rounds='.length) ?? 20)
if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError('--rounds takes a number of 1 or more')

// A load ends with this process, however that ends: its input is a pipe that closes then.
const load =
  "process.stdin.resume().on('end', () => process.exit()); setInterval(() => { const end = performance.now() + 9; while (performance.now() < end); }, 10)"
const loads = Array.from({ length: availableParallelism() }, () =>
  spawn(process.execPath, ['-e', load], { stdio: ['pipe', 'ignore', 'inherit'] }),
)

try {
  for (let round = 1; round <= rounds; round++) {
    console.log(`soak: round ${round} of ${rounds}`)
    const jest = ['node_modules/jest/bin/jest.js', ...rest]
    const { status } = spawnSync(process.execPath, jest, { cwd: root, stdio: 'inherit' })
    if (status !== 0) {
      console.error(`soak: round ${round} failed; npx jest --seed=… with the seed above has the same order`)
      process.exitCode = 1
      break
    }
  }
} finally {
  for (const child of loads) child.kill()
}
