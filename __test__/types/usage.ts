// What the declarations must accept, and what they must not: an unused `@ts-expect-error` is an error too.
import lockFactory, {
  type AbortSignalLike,
  type Cause,
  ClosedError,
  ConnectionError,
  type HeldLock,
  type Holder,
  hash,
  type InspectedHolder,
  type Inspection,
  type Lock,
  LockError,
  type LockErrorCode,
  type LockErrorFields,
  type Locker,
  type LockerSpec,
  LockLostError,
  type LockMode,
  type LockOptions,
  type LockSet,
  type LossReason,
  type MemorySpec,
  type NodeAddress,
  type Pem,
  type PendingLock,
  type RedisConfig,
  RedisError,
  type RedisErrorCode,
  type RedisSpec,
  ReplicationError,
  type RequestedLock,
  type RequestedLockSet,
  type RequestOptions,
  ResourceLockedError,
  type RetryStrategy,
  type RetryTrouble,
  type SentinelAddress,
  type Settings,
  type Snapshot,
  type Time,
  type TlsOptions,
} from 'lock-inc'

/** Whether two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

function expectType<Expected>() {
  return <Actual>(_actual: Actual, _same: Same<Actual, Expected>) => {}
}

/** The names of the properties whose type is `any`: there the compiler would find no mistake. */
type AnyIn<T> = { [Name in keyof T]-?: 0 extends 1 & T[Name] ? Name : never }[keyof T]

type Anywhere =
  | AnyIn<RedisConfig>
  | AnyIn<TlsOptions>
  | AnyIn<NodeAddress>
  | AnyIn<SentinelAddress>
  | AnyIn<RedisSpec>
  | AnyIn<MemorySpec>
  | AnyIn<Settings>
  | AnyIn<RetryTrouble>
  | AnyIn<LockOptions>
  | AnyIn<RequestOptions>
  | AnyIn<Lock>
  | AnyIn<LockSet>
  | AnyIn<RequestedLock>
  | AnyIn<RequestedLockSet>
  | AnyIn<Inspection>
  | AnyIn<HeldLock>
  | AnyIn<PendingLock>
  | AnyIn<InspectedHolder>
  | AnyIn<Locker>
  | AnyIn<Holder>
  | AnyIn<Cause>
  | AnyIn<LockErrorFields<LockErrorCode>>
export const neverAny: Same<Anywhere, never> = true

declare const locker: Locker
declare const lock: Lock
declare const signal: AbortSignalLike
declare const inProduction: boolean
declare const error: unknown

const settings = { prefix: 'lock:' }

// lockFactory

export const specs: LockerSpec[] = [
  { driver: 'redis', settings },
  { driver: 'redis', config: null, settings: { prefix: 'lock:', commandTimeout: null } },
  { driver: inProduction ? 'redis' : 'memory', config: { port: 6379 }, settings },
  { driver: 'memory', config: { port: 6379 }, settings: { prefix: 'lock:', commandTimeout: 500 } },
]

// @ts-expect-error
lockFactory()
// @ts-expect-error
lockFactory({ driver: 'mysql', settings })
// @ts-expect-error
lockFactory({ driver: 'redis' })
// @ts-expect-error
lockFactory({ driver: 'redis', settings: {} })
// @ts-expect-error
lockFactory({ driver: 'redis', settings: { prefix: null } })
// @ts-expect-error
lockFactory({ driver: 'redis', settings: { prefix: 'lock:', commandTimeout: '500' } })
lockFactory({ driver: 'memory', settings: { prefix: 'lock:', commandTimeout: '5s' } })
lockFactory({ driver: 'redis', settings: { prefix: 'lock:', replicas: 2, replicaTimeout: '250ms' } })
// @ts-expect-error
lockFactory({ driver: 'redis', settings: { prefix: 'lock:', replicas: '2' } })
// @ts-expect-error
lockFactory({ driver: 'redis', settings: { prefix: 'lock:', timeout: 500 } })
// @ts-expect-error
lockFactory({ driver: 'redis', settings, options: {} })
// @ts-expect-error
lockFactory({ driver: 'redis', config: { hots: 'localhost' }, settings })

// config

export const configs: RedisConfig[] = [
  {},
  { host: 'localhost', port: 6379, family: 'IPv4', username: 'app', password: 'secret', db: 1 },
  { host: undefined, port: null, url: undefined, tls: null, db: undefined, retry_strategy: null },
  { url: 'rediss://app:secret@redis.example:6380/1', tls: { rejectUnauthorized: false } },
  { path: '/run/redis.sock', database: '2', user: 'app', auth_pass: 'secret' },
  { port: '6379', family: 6, prefix: 'app:', tls: true },
  {
    tls: { ca: [new Uint8Array(), 'pem'], cert: 'pem', key: 'pem', servername: 'redis', host: 'h', port: 1 },
  },
  { connect_timeout: 1000, max_attempts: 3, retry_max_delay: 500, enable_offline_queue: false },
  { connect_timeout: '1h', retryMaxDelay: '1.5s' },
  { connectTimeout: 1000, maxAttempts: 3, retryMaxDelay: 500, enableOfflineQueue: false, authPass: 'secret' },
  { retry_strategy: ({ attempt, total_retry_time }) => (total_retry_time > 1000 ? undefined : attempt * 10) },
  { retryStrategy: ({ error }) => (error.code === 'ECONNREFUSED' ? new Error('it is gone') : 100) },
  { socket_keepalive: true, socket_nodelay: false, socket_initialdelay: 1000, socketInitialDelay: 1000 },
  { parser: 'javascript', string_numbers: true, return_buffers: true, detect_buffers: true },
  { no_ready_check: true, retry_unfulfilled_commands: true, disable_resubscribing: true, retry_unref: true },
  { rename_commands: {}, stream: undefined },
  { nodes: [{ host: 'a', port: 7000 }, { host: 'b', port: '7001' }, { host: 'c' }, { port: null }] },
  { cluster: true, url: 'redis://a:7000', natMap: { '10.0.0.1:7000': { host: 'a', port: 7000 } } },
  { sentinels: [{ host: 'a' }, { host: 'b', port: '26379' }], name: 'mymaster' },
  {
    sentinels: [{ host: 'a', port: 1 }] as const,
    name: 'mymaster',
    sentinelUsername: 'app',
    sentinelPassword: 'secret',
    sentinelTls: { ca: 'pem', servername: 'sentinel' },
  },
  { sentinels: [{ host: 'a' }], name: 'mymaster', sentinelTls: true, tls: true },
]

export const wrongConfigs: RedisConfig[] = [
  // @ts-expect-error
  { hots: 'localhost' },
  // @ts-expect-error
  { nodes: ['localhost:7000'] },
  // @ts-expect-error
  { nodes: { host: 'localhost' } },
  // @ts-expect-error
  { nodes: [{ hots: 'localhost' }] },
  // @ts-expect-error
  { cluster: 'yes' },
  // @ts-expect-error
  { cluster: true, natMap: { '10.0.0.1:7000': 'localhost:7000' } },
  // @ts-expect-error
  { cluster: true, natMap: { '10.0.0.1:7000': { host: 'localhost' } } },
  // @ts-expect-error
  { port: true },
  // @ts-expect-error
  { family: 'IPv5' },
  // @ts-expect-error
  { connect_timeout: '1000' },
  // @ts-expect-error
  { connectTimeout: '1000' },
  // @ts-expect-error
  { enable_offline_queue: 'no' },
  // @ts-expect-error
  { tls: { reject_unauthorized: false } },
  // @ts-expect-error
  { tls: { ca: 1 } },
  // @ts-expect-error
  { retry_strategy: 100 },
  // @ts-expect-error
  { retry_strategy: async () => 100 },
  // @ts-expect-error
  { rename_commands: { eval: 'run' } },
  // @ts-expect-error
  { stream: {} },
  // @ts-expect-error
  { sentinels: ['host:26379'], name: 'mymaster' },
  // @ts-expect-error
  { sentinels: [{ hots: 'a' }], name: 'mymaster' },
  // @ts-expect-error
  { sentinels: [{ host: 'a' }], name: 'mymaster', sentinelTls: { host: 'a' } },
]

export const times: Time[] = [5, Infinity, '250ms', '1.5s', '5m', '1h', '1d']

// @ts-expect-error
export const noTime: Time = '5'

export const pem: Pem = new Uint8Array()

export const strategy: RetryStrategy = (trouble) => {
  expectType<number>()(trouble.times_connected, true)
  return null
}

// lock

expectType<Promise<Lock>>()(locker.lock('User:1602'), true)
locker.lock('User:1602', null)
locker.lock('User:1602', { expire: 0.5, retry: true, maxRetryAttempts: Infinity, retryInterval: 50 })
locker.lock('User:1602', { expire: '1d', timeout: '250ms', retryInterval: '1s', renew: true, maxHold: '1h' })
locker.lock('User:1602', { expire: null, retry: null, maxRetryAttempts: null, retryInterval: null })
locker.lock('User:1602', { expire: undefined, retry: undefined })
locker.lock('User:1602', { renew: true, maxHold: 600, maxBlocked: 5, timeout: Infinity, signal })
locker.lock('User:1602', { renew: null, maxHold: null, maxBlocked: null, timeout: null, signal: null })

// @ts-expect-error
locker.lock()
// @ts-expect-error
locker.lock(1602)
// @ts-expect-error
locker.lock('User:1602', 60)
// @ts-expect-error
locker.lock('User:1602', { expire: '60' })
// @ts-expect-error
locker.lock('User:1602', { retry: 3 })
// @ts-expect-error
locker.lock('User:1602', { expires: 60 })
// @ts-expect-error
locker.lock('User:1602', { timeout: '5 seconds' })
// @ts-expect-error
locker.lock('User:1602', { signal: {} })
// @ts-expect-error
locker.lock('User:1602', { renew: 30 })
// @ts-expect-error
locker.lock('User:1602', { renew: true, maxHold: 'hour' })
// @ts-expect-error
locker.lock('User:1602', { renew: true, maxBlocked: true })
// @ts-expect-error: an option of request
locker.lock('User:1602', { ifAvailable: true })
expectType<Promise<Lock | null>>()(locker.tryLock('User:1602', { expire: 5 }), true)
// @ts-expect-error: it may be null
locker.tryLock('User:1602').then((tried) => tried.unlock())

expectType<string>()(lock.resourceId, true)
expectType<string>()(lock.key, true)
expectType<number>()(lock.token, true)
// @ts-expect-error
lock.key = 'other'
// @ts-expect-error
lock.token = 1

// Holding

expectType<boolean>()(lock.held, true)
expectType<number>()(lock.remaining(), true)
expectType<Promise<boolean>>()(lock.extend(0.5), true)
lock.extend('1.5s')
// Neither lib.dom nor @types/node is here; with-libs/ has them.
expectType<AbortSignalLike>()(lock.signal, true)
expectType<boolean>()(lock.signal.aborted, true)
lock.signal.addEventListener('abort', () => {}, { once: true })
// @ts-expect-error
lock.held = true
// @ts-expect-error: a method
expectType<number>()(lock.remaining, true)
// @ts-expect-error
lock.extend()
// @ts-expect-error
lock.extend('5')

// request

expectType<Promise<number>>()(
  locker.request('User:1602', async (held) => {
    expectType<RequestedLock>()(held, true)
    expectType<string>()(held.name, true)
    expectType<LockMode>()(held.mode, true)
    expectType<number>()(held.token, true)
    expectType<AbortSignalLike>()(held.signal, true)
    return 1
  }),
  true,
)
expectType<Promise<string>>()(
  locker.request('a', () => 'b'),
  true,
)
locker.request('a', null, (held) => held.token)
locker.request('a', undefined, (held) => held.token)
locker.request(
  'a',
  { mode: 'exclusive', expire: 5, maxHold: 60, maxBlocked: 5, timeout: 0 },
  (held) => held.token,
)
locker.request('a', { signal, steal: false, ifAvailable: false }, (held) => held.token)
expectType<Promise<number | undefined>>()(
  locker.request('a', { ifAvailable: true }, async (held) => held?.token),
  true,
)
// @ts-expect-error: it may be null
locker.request('a', { ifAvailable: true }, (held) => held.token)
// @ts-expect-error: it may be null
locker.request('a', { ifAvailable: inProduction }, (held) => held.token)
// @ts-expect-error: it is unlocked when the callback has settled
locker.request('a', (held) => held.unlock())
// @ts-expect-error
locker.request('a')
// @ts-expect-error
locker.request('a', {})
locker.request('a', { mode: 'shared', limit: 3 }, (held) => held.token)
locker.request('a', { steal: true }, (held) => held.token)
// @ts-expect-error
locker.request('a', { mode: 'other' }, () => {})
// @ts-expect-error
locker.request('a', { limit: '3' }, () => {})
// @ts-expect-error: it is renewed anyway
locker.request('a', { renew: true }, () => {})

// Modes, and several resources

locker.lock('a', { mode: 'shared', limit: 5 }).then((held) => held.token)
locker.lock('a', { steal: true })
// @ts-expect-error
locker.lock('a', { mode: 'exclusiv' })
// @ts-expect-error
locker.lock('a', { steal: 'yes' })
const names = ['a', 'b'] as const
expectType<Promise<LockSet>>()(locker.lock(names), true)
expectType<Promise<LockSet | null>>()(locker.tryLock(['a', 'b'], { timeout: '5s' }), true)
locker.lock(['a', 'b']).then(async (set) => {
  expectType<readonly string[]>()(set.resourceIds, true)
  expectType<ReadonlyMap<string, number>>()(set.tokens, true)
  expectType<boolean>()(set.held, true)
  expectType<number>()(set.remaining(), true)
  expectType<AbortSignalLike>()(set.signal, true)
  expectType<Promise<boolean>>()(set.extend('5s'), true)
  expectType<Promise<boolean>>()(locker.unlock(set), true)
  // @ts-expect-error: of several there is no one token
  set.token
})
// @ts-expect-error
locker.lock([1, 2])
expectType<Promise<number>>()(
  locker.request(['a', 'b'], async (held) => {
    expectType<RequestedLockSet>()(held, true)
    expectType<readonly string[]>()(held.names, true)
    return held.tokens.size
  }),
  true,
)
locker.request(['a'], { mode: 'shared' }, (held) => held.tokens)
// @ts-expect-error: it may be null
locker.request(['a'], { ifAvailable: true }, (held) => held.tokens)

// query, inspect, forceUnlock

locker.query().then((found) => {
  expectType<Snapshot>()(found, true)
  for (const held of found.held) {
    expectType<HeldLock>()(held, true)
    expectType<string>()(held.name, true)
    expectType<LockMode>()(held.mode, true)
    expectType<number>()(held.leaseLeft, true)
    // @ts-expect-error: it may be unknown
    held.clientId.length
  }
  for (const waiter of found.pending) {
    expectType<PendingLock>()(waiter, true)
    expectType<Date>()(waiter.since, true)
  }
})

expectType<Promise<boolean>>()(locker.forceUnlock('User:1602'), true)
export const look = async () => {
  const found = await locker.inspect('User:1602')
  // @ts-expect-error: it may be null
  found.count
  if (found === null) return
  expectType<number>()(found.count, true)
  expectType<readonly lockFactory.Waiter[]>()(found.waiters, true)
  for (const holder of found.holders) {
    expectType<InspectedHolder>()(holder, true)
    expectType<number>()(holder.leaseLeft, true)
    expectType<LockMode>()(holder.mode, true)
    expectType<Date | null>()(holder.since, true)
    expectType<number | null>()(holder.token, true)
    // @ts-expect-error: it may be unknown
    holder.host.length
  }
}

// unlock

expectType<Promise<boolean>>()(lock.unlock(), true)
expectType<Promise<boolean>>()(locker.lock('User:1602').then(lock.unlock), true)
expectType<Promise<boolean>>()(locker.unlock(lock), true)
expectType<Promise<boolean>>()(locker.unlock('User:1602'), true)
// @ts-expect-error: a promise is no boolean
expectType<boolean>()(lock.unlock(), true)
// @ts-expect-error
locker.unlock()
// @ts-expect-error
locker.unlock({ resourceId: 'User:1602' })

// The other methods, detached ones too

expectType<Promise<boolean>>()(locker.isLocked('User:1602'), true)
expectType<Promise<void>>()(locker.purge(), true)
expectType<Promise<void>>()(locker.close(), true)
export const { isLocked, purge, close, tryLock, request, inspect, forceUnlock } = locker
expectType<Promise<boolean>>()(isLocked('User:1602'), true)
expectType<Promise<boolean>>()(
  request('User:1602', () => true),
  true,
)
// @ts-expect-error
locker.isLocked(lock)
// @ts-expect-error
locker.purge('other:')
// @ts-expect-error
locker.quit()

expectType<string>()(hash('User:1602'), true)
// @ts-expect-error
hash(1602)
// @ts-expect-error
hash(null)

// Errors

if (error instanceof locker.ResourceLockedError) {
  expectType<ResourceLockedError>()(error, true)
  expectType<'ERR_RESOURCE_LOCKED'>()(error.code, true)
  expectType<string>()(error.details.resourceId, true)
  expectType<number>()(error.details.numberOfLocks, true)
  expectType<string>()(error.resourceId, true)
  expectType<'ResourceLockedError'>()(error.name, true)
  expectType<number>()(error.leaseLeft, true)
  expectType<Holder | null>()(error.holder, true)
  expectType<string | undefined>()(error.holder?.clientId, true)
  expectType<number | undefined>()(error.holder?.pid, true)
  expectType<number | null | undefined>()(error.holder?.token, true)
  expectType<Date | null | undefined>()(error.holder?.since, true)
  // @ts-expect-error: it may be unknown
  error.holder.host
}
if (error instanceof RedisError && error.code === 'ERR_REDIS_NOAUTH') {
  expectType<string | undefined>()(error.cause?.message, true)
}
if (error instanceof RedisError) {
  expectType<RedisErrorCode>()(error.code, true)
  expectType<
    | 'ERR_REDIS_NOAUTH'
    | 'ERR_REDIS_WRONGPASS'
    | 'ERR_REDIS_NOPERM'
    | 'ERR_REDIS_READONLY'
    | 'ERR_REDIS_NOREPLICAS'
    | 'ERR_REDIS_OOM'
    | 'ERR_REDIS_LOADING'
    | 'ERR_REDIS_BUSY'
    | 'ERR_REDIS_TRYAGAIN'
    | 'ERR_REDIS_MISCONF'
    | 'ERR_REDIS_MOVED'
    | 'ERR_REDIS_CLUSTERDOWN'
    | 'ERR_REDIS_WRONGTYPE'
    | 'ERR_REDIS_DB'
    | 'ERR_REDIS_VERSION'
    | 'ERR_SENTINEL_NAME'
    | 'ERR_REDIS_REPLY'
  >()(error.code, true)
}
if (error instanceof LockLostError) {
  expectType<'ERR_LOCK_LOST'>()(error.code, true)
  expectType<string>()(error.resourceId, true)
  expectType<number>()(error.token, true)
  expectType<LossReason>()(error.reason, true)
  expectType<'expired' | 'connection' | 'stolen' | 'purged'>()(error.reason, true)
}
if (error instanceof ReplicationError) {
  expectType<'ERR_REPLICATION'>()(error.code, true)
  expectType<string>()(error.resourceId, true)
  expectType<number>()(error.details.wanted + error.details.confirmed, true)
}
if (error instanceof ClosedError) expectType<'ERR_CLOSED'>()(error.code, true)
if (error instanceof ConnectionError) {
  expectType<Cause | undefined>()(error.cause, true)
  // @ts-expect-error: another class has this code
  if (error.code === 'ERR_CLOSED') close()
}
if (error instanceof LockError) {
  expectType<LockErrorCode>()(error.code, true)
  expectType<string | undefined>()(error.resourceId, true)
  // @ts-expect-error: there is no such code
  if (error.code === 'ERR_TIMEOUT') close()
}
// As a user's test would make them.
export const errors: LockError[] = [
  new ResourceLockedError('User:1602', 2, { leaseLeft: 1000, position: 1 }),
  new LockLostError('User:1602', 1, 'expired'),
  new ConnectionError('no route', { code: 'ERR_CONNECTION', resourceId: 'User:1602' }),
  new RedisError('no', {
    code: 'ERR_REDIS_REPLY',
    cause: Object.assign(new Error('ERR no'), { code: 'ERR' }),
  }),
  new ReplicationError('too few', { resourceId: 'User:1602', wanted: 2, confirmed: 1 }),
  // @ts-expect-error
  new ReplicationError('too few', { wanted: 2, confirmed: 1 }),
  // @ts-expect-error
  new ResourceLockedError('User:1602', 2, { leaseLeft: '1000' }),
  // @ts-expect-error
  new LockLostError('User:1602', 1, 'late'),
  // @ts-expect-error
  new ClosedError('closed', { code: 'ERR_CONNECTION' }),
]

// @ts-expect-error: a helper of the declarations, not a part of the interface
export type Hidden = import('lock-inc').Absentable<object>
