// Loads what a contestant needs, takes a lock, and tells in ms how long both took.
import { createRequire } from 'node:module'

const [contestant, port] = process.argv.slice(2)
const { about, open } = await import(`../contestants/${contestant}.mjs`)
const require = createRequire(import.meta.url)

const start = performance.now()
if (about.package === 'lock-inc') require('../..')
else for (const name of [about.client, about.package]) require(name)
const required = performance.now() - start
const { lock } = await open(Number(port))
await lock(`first lock of ${process.pid}`)
const first = performance.now() - start
process.stdout.write(JSON.stringify({ required, first }), () => process.exit())
