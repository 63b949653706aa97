'use strict'

const { kill, runLocker } = require('./support/child')
const { oldLocker } = require('./support/lock-inc-1.2.0')
const { randomFrom, seeds } = require('./support/random')
const { SERVERS } = require('./support/redis-server')
const { introduced, redisScene } = require('./support/scene')
const { until } = require('./support/until')

// Random steps of processes that take, wait for, give up and lose two resources, against a model that knows whose turn
// it is.
describe.each(SERVERS)('whatever happens to those who wait, in whatever order (%s)', (name) => {
  const scene = redisScene({ name })
  const { newLocker, key, keys } = scene

  it.each(seeds(2))(
    'the first that lives is next, nobody else is, tokens grow, and nothing is left (seed %i)',
    async (seed) => {
      const random = randomFrom(seed)
      const pick = (list) => list[Math.floor(random() * list.length)]
      const watcher = newLocker()
      const old = oldLocker({ port: scene.server.port, prefix: scene.prefix })
      const resources = ['a', 'b']
      /** The call that holds a resource, and the calls that wait for it. A call knows its process. */
      const model = { a: { holder: undefined, queue: [] }, b: { holder: undefined, queue: [] } }
      const processes = []
      const log = []
      const lastToken = { a: 0, b: 0 }
      let nextId = 1

      const start = async () => {
        const made = runLocker(scene.spec())
        await until(() => made.heard.includes('ready'))
        processes.push(made)
      }
      const heardOf = ({ process, id }, field) =>
        process.heard.find((message) => message.id === id && field in message)

      /** It is the turn of the first one that lives, and of nobody else. */
      async function handOver(resource) {
        const state = model[resource]
        state.holder = state.queue.shift()
        if (state.holder === undefined) return
        const { token } = await until(() => heardOf(state.holder, 'token'), `${state.holder.id} has its turn`)
        expect(token).toBeGreaterThan(lastToken[resource])
        lastToken[resource] = token
      }

      const steps = {
        async lock() {
          const resource = pick(resources)
          const call = { id: nextId++, process: pick(processes), resource }
          const options = { retryInterval: 10, expire: 100, renew: random() < 0.3 }
          call.process.send({ id: call.id, call: 'lock', resource, options })
          const state = model[resource]
          state.queue.push(call)
          if (state.holder === undefined) await handOver(resource)
          else await until(() => asInModel(resource), 'it is in the queue')
          return `${call.id} ${resource}`
        },
        async unlock() {
          const resource = pick(resources)
          const { holder } = model[resource]
          if (holder === undefined) return 'nobody'
          holder.process.send({ id: holder.id, call: 'unlock' })
          expect((await until(() => heardOf(holder, 'unlocked'))).unlocked).toBe(true)
          await handOver(resource)
          return `${holder.id} ${resource}`
        },
        async cancel() {
          const resource = pick(resources)
          const { queue } = model[resource]
          if (queue.length === 0) return 'nobody'
          const [call] = queue.splice(Math.floor(random() * queue.length), 1)
          call.process.send({ id: call.id, call: 'abort' })
          await until(() => heardOf(call, 'error'))
          await until(() => asInModel(resource), 'it is out of the queue')
          return `${call.id} ${resource}`
        },
        /** The lease ends. Whoever comes next, if only to look whether it is free, finds that others were first. */
        async expire() {
          const resource = pick(resources)
          const { holder, queue } = model[resource]
          if (holder === undefined) return 'nobody'
          // Nothing is asked for it from then on for long.
          await introduced(watcher, resource)
          await scene.server.call('PEXPIRE', key(resource), 1)
          await until(async () => !(await stillOf(resource, holder)), 'the lease has ended')
          const busy = queue.length > 0
          // The record of who held it lives for as long as its lease was to.
          if (!busy) await scene.server.call('PEXPIRE', `${key(resource)}:clients`, 1)
          const lock = await watcher.tryLock(resource)
          expect(lock === null).toBe(busy)
          if (lock) await lock.unlock()
          await handOver(resource)
          return resource
        },
        async forceUnlock() {
          const resource = pick(resources)
          expect(await watcher.forceUnlock(resource)).toBe(model[resource].holder !== undefined)
          await handOver(resource)
          return resource
        },
        async kill() {
          const [killed] = processes.splice(Math.floor(random() * processes.length), 1)
          kill(killed.child)
          await killed.ended
          for (const resource of resources) {
            const state = model[resource]
            state.queue = state.queue.filter(({ process }) => process !== killed)
          }
          await start()
          // The lock of a dead process stays until its lease ends.
          for (const resource of resources) {
            if (model[resource].holder?.process === killed) await endLease(resource)
          }
          return ''
        },
        async oldUnlock() {
          // Blindly, and nobody is told before somebody looks.
          const resource = pick(resources)
          const { holder, queue } = model[resource]
          await old.unlock(resource)
          if (queue.length > 0) {
            expect(await watcher.tryLock(resource)).toBeNull()
          }
          await handOver(resource)
          if (holder !== undefined) {
            // Its record is left for as long as its lease, or until it asks.
            holder.process.send({ id: holder.id, call: 'unlock' })
            expect((await until(() => heardOf(holder, 'unlocked'))).unlocked).toBe(false)
          }
          return resource
        },
        async forgetScripts() {
          await scene.server.call('SCRIPT', 'FLUSH')
          return ''
        },
      }

      async function stillOf(resource, holder) {
        const seen = await watcher.inspect(resource)
        return seen?.holders.some(({ token }) => token === heardOf(holder, 'token').token)
      }

      async function endLease(resource) {
        expect(await watcher.forceUnlock(resource)).toBe(true)
        await handOver(resource)
      }

      /** Those of a dead process are in the queue until their turn: looked at is only who lives. */
      async function asInModel(resource) {
        const pids = (await watcher.inspect(resource))?.waiters.map(({ pid }) => pid) ?? []
        const alive = pids.filter((pid) => processes.some(({ child }) => child.pid === pid))
        return String(alive) === String(model[resource].queue.map(({ process }) => process.child.pid))
      }

      const often = ['lock', 'lock', 'lock', 'unlock', 'unlock', 'cancel']
      try {
        for (let count = 0; count < 3; count++) await start()
        for (let step = 0; step < 120; step++) {
          const name = random() < 0.75 ? pick(often) : pick(Object.keys(steps))
          log.push(name)
          log.push(await steps[name]())
          for (const resource of resources) {
            expect(await asInModel(resource)).toBe(true)
            const { holder } = model[resource]
            const seen = (await watcher.inspect(resource))?.holders[0]
            expect(seen?.pid).toBe(holder?.process.child.pid)
            // Of a young lock it is not known.
            if (seen) expect([null, heardOf(holder, 'token').token]).toContain(seen.token)
          }
        }
        // Nobody has had a turn that was not theirs: in the order in which they came, all of them.
        for (const resource of resources) {
          while (model[resource].holder !== undefined) await endLease(resource)
        }
        await until(async () => (await keys()).length <= 1, 'nothing is left')
        expect(await keys()).toEqual([`${scene.prefix}fence`])
      } catch (error) {
        error.message += `\nafter: ${log.join(' ')}`
        throw error
      } finally {
        for (const { child } of processes) kill(child)
        await old.close()
      }
    },
  )
})
