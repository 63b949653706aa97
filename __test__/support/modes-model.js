'use strict'

const { hash } = require('../..')

/**
 * Who holds which resource, in which mode, and who waits for it, as it has to be: calls in order of arrival, whom nobody
 * overtakes.
 *
 * A call has `party`, `names`, `asArray` (it may ask for several), `mode` and `limit`, and gets from here `state`, which is
 * 'waiting', 'held' or 'over', and what it was granted: `grants`, by resource.
 */
class ModesModel {
  #resources
  #arrivals = 0
  /** Calls that have been handed a resource, and go on with the next one. */
  #moved = []

  constructor(names) {
    this.names = names
    // `granted`: all that was ever granted, in order.
    const nobody = () => ({ holders: [], queue: [], granted: [], count: 0 })
    this.#resources = new Map(names.map((name) => [name, nobody()]))
  }

  of(name) {
    return this.#resources.get(name)
  }

  /** What a call holds of its resources. */
  static held(call) {
    return [...call.grants.values()].filter(({ lost }) => !lost)
  }

  /** A call that does not wait: takes all of its resources, or none. The one that is in the way, if one is. */
  take(call) {
    const inTheWay = call.names.find((name) => !this.#isOpen(name, call))
    if (inTheWay === undefined) {
      for (const name of call.names) this.#enter(name, call)
      call.state = 'held'
      return undefined
    }
    this.of(inTheWay).count++
    call.state = 'over'
    return inTheWay
  }

  /** A call that waits: where it cannot have all at once, it takes one after the other, in an order that all have. */
  wait(call) {
    if (call.asArray && this.take(call) === undefined) return
    call.state = 'waiting'
    call.left = [...call.names].sort((one, other) => (hash(one) < hash(other) ? -1 : 1))
    this.#goOn(call)
    this.#settle()
  }

  /** Before those who wait, whose places stay as they are. */
  steal(call) {
    const [name] = call.names
    this.#rob(name, 'stolen')
    this.#enter(name, call)
    call.state = 'held'
  }

  /** Gives up what a call holds, and its place in the queue: an unlock, or the end of its waiting. */
  leave(...calls) {
    for (const call of calls) {
      if (call.state === 'waiting') {
        const { queue } = this.of(call.left[0])
        queue.splice(queue.indexOf(call), 1)
      }
      for (const grant of ModesModel.held(call)) this.#remove(grant)
      call.state = 'over'
    }
    this.#settle()
  }

  /** The leases of these have ended. */
  expire(...grants) {
    for (const grant of grants) {
      this.#remove(grant)
      grant.lost = 'expired'
    }
    this.#settle()
  }

  /** All who hold one of these resources lose it. Whether there were any. */
  remove(...names) {
    const removed = names.filter((name) => this.#rob(name, 'purged'))
    this.#settle()
    return removed.length > 0
  }

  /** Those who wait, in order of arrival. */
  waiting() {
    const calls = this.names.flatMap((name) => this.of(name).queue)
    return calls.sort((one, other) => one.arrival - other.arrival)
  }

  /** A call that waits for the rest, and has lost what it had: it finds that out when it has all. */
  isDoomed(call) {
    return call.state === 'waiting' && [...call.grants.values()].some(({ lost }) => lost)
  }

  #fits(name, { mode, limit }) {
    const { holders } = this.of(name)
    if (holders.length === 0) return true
    const share = mode === 'shared' && holders.every(({ call }) => call.mode === 'shared')
    return share && holders.length < limit
  }

  #isOpen(name, call) {
    return this.of(name).queue.length === 0 && this.#fits(name, call)
  }

  #enter(name, call) {
    const state = this.of(name)
    const grant = { call, name, token: undefined, lost: undefined }
    if (state.holders.length === 0) state.count = 1
    state.holders.push(grant)
    state.granted.push(grant)
    call.grants.set(name, grant)
  }

  #remove(grant) {
    const { holders } = this.of(grant.name)
    holders.splice(holders.indexOf(grant), 1)
  }

  #rob(name, reason) {
    const robbed = this.of(name).holders.splice(0)
    for (const grant of robbed) grant.lost = reason
    return robbed.length > 0
  }

  /** Takes one after the other, until it has to wait. */
  #goOn(call) {
    while (call.left.length > 0) {
      const [name] = call.left
      if (!this.#isOpen(name, call)) {
        const state = this.of(name)
        state.count++
        state.queue.push(call)
        call.arrival = ++this.#arrivals
        return
      }
      call.left.shift()
      this.#enter(name, call)
    }
    if (ModesModel.held(call).length === call.names.length) call.state = 'held'
    else this.#startAnew(call)
  }

  /** What it has is given back, and it comes again, as the last one. */
  #startAnew(call) {
    for (const grant of ModesModel.held(call)) this.#remove(grant)
    call.grants = new Map()
    this.#settle()
    this.wait(call)
    // It may have asked once more before what it had was given back.
    for (const name of call.names) this.of(name).count = Number.NaN
  }

  #settle() {
    for (const name of this.names) this.#handOver(name)
    while (this.#moved.length > 0) {
      const call = this.#moved.shift()
      const next = [...call.left]
      this.#goOn(call)
      // It may have come before or after what else goes on, as when one gives up several: an attempt more or less.
      for (const name of next) this.of(name).count = Number.NaN
      for (const name of this.names) this.#handOver(name)
    }
  }

  /** In one step: the first one, if it fits, and those behind it as long as each is shared and fits. */
  #handOver(name) {
    const { queue } = this.of(name)
    // Found not to listen: nothing of theirs is tried again in this step.
    const deaf = new Set()
    let hasBegun = false
    while (queue.length > 0) {
      const [call] = queue
      // Once a step has come so far, the dead are passed over whether they fit or not.
      const isPassedOver = deaf.has(call.party) || (hasBegun && call.party.isDead)
      if (!isPassedOver && !this.#fits(name, call)) return
      hasBegun = true
      queue.shift()
      if (call.party.isDead) {
        deaf.add(call.party)
        continue
      }
      call.left.shift()
      this.#enter(name, call)
      this.#moved.push(call)
      if (call.mode !== 'shared') return
    }
  }
}

module.exports = { ModesModel }
