import { label } from '../contestants/index.mjs'
import { Child } from './child.mjs'
import { Server } from './server.mjs'

/**
 * Contestants take turns, round by round: what slows the machine down for a while slows all of them. Whoever fails
 * is left out from then on, and its reason is told. `measure(name, round)` resolves to what one turn measured.
 */
export async function inTurns(names, rounds, measure, log) {
  const measured = new Map(names.map((name) => [name, []]))
  const failed = new Map()
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      if (failed.has(name)) continue
      try {
        measured.get(name).push(await measure(name, round))
      } catch (error) {
        failed.set(name, error.message)
        measured.delete(name)
        log(`${typeof name === 'number' ? `of size ${name}` : label(name)}: ${error.message}`)
      }
    }
    log.progress(`round ${round + 1} of ${rounds}`)
  }
  return { measured, failed }
}

/** A server, and a process on it for each contestant; all are gone when `work` has ended. */
export async function withChildren(names, work) {
  const server = await Server.start()
  const children = new Map()
  try {
    for (const name of names) {
      // One whose package does not load takes no part: its first call says why.
      const child = new Child(name, server.port)
      children.set(name, child)
      await child.call('ready').catch(() => {})
    }
    return await work(server, children)
  } finally {
    for (const child of children.values()) child.kill()
    await server.stop()
  }
}
