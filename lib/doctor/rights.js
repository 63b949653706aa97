'use strict'

/**
 * Every right that a locker has a use for. `docs/protocol.md` has the same ones, and says more of them; a test compares the two.
 *
 * @typedef {object} Right
 * @property {string} rule As `ACL SETUSER` has it, without the `+`.
 * @property {(names: Names) => string[] | undefined} trial The command, so that it changes nothing but a key of the trial's own.
 *   `undefined`: it cannot be tried.
 * @property {Need} need
 *
 * @typedef {'locks' | 'removal' | 'messages' | 'spare' | 'purge' | 'database' | 'cluster' | 'replicas'} Need
 *
 * @typedef {object} Names
 * @property {string} key Of the trial's own, and not there.
 * @property {string} channel Of one locker.
 * @property {number} database
 */

/** What the locker does without. */
const needs = {
  locks: { level: 'missing', for: 'lock, unlock, renewal, and listings' },
  removal: { level: 'useful', for: 'forceUnlock, steal and purge' },
  messages: { level: 'useful', for: 'being told of a lost lock and of a grant, instead of asking' },
  purge: { level: 'useful', for: 'purge' },
  spare: { level: 'spare', for: 'less work for the server, and names in CLIENT LIST' },
  database: { level: 'missing', for: 'config.db' },
  cluster: { level: 'missing', for: 'a cluster' },
  replicas: { level: 'missing', for: 'settings.replicas' },
}

/** No script has this. */
const UNKNOWN_SCRIPT = '0'.repeat(40)

/**
 * In an order in which nothing is left behind: what writes comes behind `SET`, on a string that is no number, which is gone
 * after a second in any case.
 *
 * @type {Right[]}
 */
const rights = [
  of('evalsha', 'locks', ({ key }) => ['EVALSHA', UNKNOWN_SCRIPT, '1', key]),
  of('eval', 'locks', ({ key }) => ['EVAL', 'return 1', '1', key]),
  of('exists', 'locks', ({ key }) => ['EXISTS', key]),
  of('get', 'locks', ({ key }) => ['GET', key]),
  of('mget', 'removal', ({ key }) => ['MGET', key]),
  of('pttl', 'locks', ({ key }) => ['PTTL', key]),
  of('time', 'locks', () => ['TIME']),
  of('zpopmin', 'locks', ({ key }) => ['ZPOPMIN', key]),
  of('zrem', 'locks', ({ key }) => ['ZREM', key, 'x']),
  of('zrank', 'locks', ({ key }) => ['ZRANK', key, 'x']),
  of('zscore', 'locks', ({ key }) => ['ZSCORE', key, 'x']),
  of('zcard', 'locks', ({ key }) => ['ZCARD', key]),
  of('zrange', 'locks', ({ key }) => ['ZRANGE', key, '0', '0']),
  of('hmget', 'locks', ({ key }) => ['HMGET', key, 'x']),
  of('hlen', 'locks', ({ key }) => ['HLEN', key]),
  of('hdel', 'locks', ({ key }) => ['HDEL', key, 'x']),
  of('hgetall', 'locks', ({ key }) => ['HGETALL', key]),
  of('set', 'locks', ({ key }) => ['SET', key, 'x', 'PX', '1000']),
  of('pexpire', 'locks', ({ key }) => ['PEXPIRE', key, '1000']),
  of('incr', 'locks', ({ key }) => ['INCR', key]),
  of('incrby', 'spare', ({ key }) => ['INCRBY', key, '1']),
  of('zadd', 'locks', ({ key }) => ['ZADD', key, '1', 'x']),
  of('hset', 'locks', ({ key }) => ['HSET', key, 'x', '1']),
  of('del', 'locks', ({ key }) => ['DEL', key]),
  of('scan', 'purge', ({ key }) => ['SCAN', '0', 'MATCH', key, 'COUNT', '1']),
  of('publish', 'messages', ({ channel }) => ['PUBLISH', channel, '']),
  of('pubsub|numsub', 'messages', ({ channel }) => ['PUBSUB', 'NUMSUB', channel]),
  // The locker has tried it.
  of('subscribe', 'messages', () => undefined),
  of('client|setname', 'spare', () => ['CLIENT', 'SETNAME', 'lock-inc:inquiry']),
  of('select', 'database', ({ database }) => ['SELECT', String(database)]),
  of('cluster|slots', 'cluster', () => ['CLUSTER', 'SLOTS']),
  of('wait', 'replicas', () => ['WAIT', '0', '0']),
  // On an ordinary connection it is for the command behind it.
  of('asking', 'cluster', () => ['ASKING']),
  // What comes behind a transaction that must not be carried out is not tried any more.
  of('multi', 'spare', () => ['MULTI']),
  of('exec', 'spare', () => ['EXEC']),
]

/** These would be as good without: a right that is tried leaves an entry in ACL LOG. */
const WRITES = ['incr', 'incrby', 'zadd', 'hset']

/** @param {string} rule @param {Need} need @param {Right['trial']} trial @returns {Right} */
function of(rule, need, trial) {
  return { rule, need, trial }
}

module.exports = { needs, rights, WRITES }
