// The process of one contestant: connects, and does what the run tells it.
import * as tasks from './tasks.mjs'

const [contestant, where] = process.argv.slice(2)
const known = new Map(Object.entries(tasks))
const faults = []
// Some contestants throw where nobody can catch it. The run goes on and tells of it.
process.on('uncaughtException', (error) => faults.push(String(error)))
process.on('unhandledRejection', (error) => faults.push(String(error)))
process.on('disconnect', () => process.exit())

const opening = import(`../contestants/${contestant}.mjs`).then((module) => module.open(JSON.parse(where)))
opening.catch(() => {})

process.on('message', async ({ id, task, args }) => {
  try {
    const result = await known.get(task)(await opening, args, faults)
    process.send({ id, result })
  } catch (error) {
    process.send({ id, error: error?.stack?.split('\n')[0] ?? String(error) })
  }
})
