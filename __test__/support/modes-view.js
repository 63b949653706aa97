'use strict'

const { ModesModel } = require('./modes-model')
const { until } = require('./until')

/** Compares what can be seen with a model. `watcher`: a locker that only looks. */
class ModesView {
  #model
  #watcher

  constructor(model, watcher) {
    this.#model = model
    this.#watcher = watcher
  }

  /** Waits until everything is as the model says. `calls`: those of which it is known what comes of them. */
  async check(calls) {
    const expected = () => [...this.#model.names.map((name) => this.#told(name)), ...calls.map(toldCall)]
    const see = async () => {
      this.#learn(calls)
      const seen = []
      for (const name of this.#model.names) seen.push(await this.#see(name))
      for (const call of calls) seen.push(`${call.name}: ${await call.party.stateOf(call)}`)
      return seen
    }
    await same(see, expected)
    this.#learn(calls)
    for (const call of calls) checkLoss(call)
    for (const name of this.#model.names) {
      const tokens = this.#model.of(name).granted.map(({ token }) => token)
      const known = tokens.filter((token) => token !== undefined)
      expect(known).toEqual([...new Set(known)].sort((one, other) => one - other))
    }
  }

  /** Waits until all holders that live are known, and compares them one by one, in the order of their grants. */
  async introduced(parties) {
    const clients = parties.map(({ clientId }) => clientId)
    for (const name of this.#model.names) {
      const holders = this.#model.of(name).holders.filter(({ call }) => parties.includes(call.party))
      const tokens = async () => {
        const found = (await this.#watcher.inspect(name))?.holders ?? []
        const living = found.filter(({ clientId }) => clients.includes(clientId))
        // The model does not know the token of what a call has that waits for more.
        return living.map(({ token }, place) => token && holders[place]?.token && token)
      }
      await same(tokens, () => holders.map(({ token }) => token))
    }
  }

  /** What `query` tells, of those who live, from the view of a locker. */
  async query(locker, parties) {
    const clients = parties.map(({ clientId }) => clientId)
    const lives = ({ party }) => parties.includes(party)
    const see = async () => {
      const { held: all, pending } = await locker.query()
      const held = all.filter(({ clientId }) => clients.includes(clientId))
      const tokens = held.map(({ token }) => token)
      if (tokens.includes(null)) return `not known yet: ${tokens}`
      expect(tokens).toEqual([...tokens].sort((one, other) => one - other))
      const of = (list, name) => list.filter((one) => one.name === name && clients.includes(one.clientId))
      const told = this.#model.names.map((name) => {
        const holders = this.#match(name, of(held, name)).join(', ')
        return `${name}: ${holders} <- ${of(pending, name).map(toldWaiter).join(', ')}`
      })
      const waiting = pending.filter(({ clientId }) => clients.includes(clientId))
      return [...told, waiting.map((one) => `${one.name} ${toldWaiter(one)}`).join(', ')]
    }
    const expected = () => {
      const told = this.#model.names.map((name) => {
        const { holders, queue } = this.#model.of(name)
        const held = holders.filter(({ call }) => lives(call)).map(({ call }) => call.name)
        return `${name}: ${held.join(', ')} <- ${queue.filter(lives).map(waiterOf).join(', ')}`
      })
      const waiting = this.#model.waiting().filter(lives)
      return [...told, waiting.map((call) => `${call.left[0]} ${waiterOf(call)}`).join(', ')]
    }
    await same(see, expected)
  }

  /** Which tokens were granted. */
  #learn(calls) {
    for (const { outcome, grants } of calls) {
      for (const [name, token] of outcome?.tokens ?? []) {
        const grant = grants.get(name)
        if (grant) grant.token ??= token
      }
    }
  }

  #told(name) {
    const { holders, queue, count } = this.#model.of(name)
    const held = holders.map(({ call }) => call.name).join(', ')
    const times = holders.length === 0 ? 0 : Number.isNaN(count) ? '?' : count
    return `${name}: ${held} (${times}) <- ${queue.map(waiterOf).join(', ')}`
  }

  async #see(name) {
    const found = (await this.#watcher.inspect(name)) ?? { holders: [], waiters: [], count: 0 }
    const held = this.#match(name, found.holders).join(', ')
    const isKnown = found.holders.length === 0 || !Number.isNaN(this.#model.of(name).count)
    const since = found.waiters.map(({ since }) => Number(since))
    expect(since).toEqual([...since].sort((one, other) => one - other))
    return `${name}: ${held} (${isKnown ? found.count : '?'}) <- ${found.waiters.map(toldWaiter).join(', ')}`
  }

  /**
   * The names of the calls that these holders are, in the order of the model. Of a young lock, and of one of a call that waits for
   * more, the token is not known: it is any that is left of the same locker and mode.
   */
  #match(name, found) {
    const { holders } = this.#model.of(name)
    const left = new Set(holders)
    const strangers = []
    const matches =
      ({ clientId, mode }) =>
      ({ call }) =>
        call.party.clientId === clientId && call.mode === mode
    const unknown = []
    for (const holder of found) {
      const grant = holders.find(({ token }) => token !== undefined && token === holder.token)
      if (!grant || !left.has(grant) || !matches(holder)(grant)) unknown.push(holder)
      else left.delete(grant)
    }
    for (const holder of unknown) {
      const canBe = (grant) => holder.token === null || grant.token === undefined
      const grant = [...left].find((grant) => canBe(grant) && matches(holder)(grant))
      if (grant) left.delete(grant)
      else strangers.push(`? ${holder.clientId} ${holder.mode} ${holder.token}`)
    }
    return [...holders.filter((grant) => !left.has(grant)).map(({ call }) => call.name), ...strangers]
  }
}

const toldWaiter = ({ clientId, mode }) => `${clientId} ${mode}`
const waiterOf = ({ party, mode }) => `${party.clientId} ${mode}`

function toldCall(call) {
  const isLost = call.state === 'held' && ModesModel.held(call).length < call.grants.size
  return `${call.name}: ${isLost ? 'lost' : call.state}`
}

/** By the reason of the loss. Of a lock that nobody has been told of, one learns only whether somebody else has it. */
function checkLoss({ outcome, grants }) {
  const reason = outcome?.lock?.signal.reason
  if (reason === undefined) return
  const { code, resourceId, token } = reason
  const { lost, token: granted } = grants.get(resourceId)
  const possible = { expired: ['expired', 'connection'], purged: ['purged', 'stolen'], stolen: ['stolen'] }
  expect({ code, token }).toEqual({ code: 'ERR_LOCK_LOST', token: granted })
  expect(possible[lost]).toContain(reason.reason)
}

/** Waits until both are the same. */
async function same(see, expected) {
  let seen
  const isSame = async () => {
    seen = await see()
    return JSON.stringify(seen) === JSON.stringify(expected())
  }
  try {
    await until(isSame, 'it is as the model says')
  } catch (error) {
    if (seen === undefined) throw error
    expect(seen).toEqual(expected())
    throw error
  }
}

module.exports = { ModesView, same }
