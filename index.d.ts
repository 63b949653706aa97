// Loading the module throws an `Error` where the addon cannot be used. Its `code` is `ERR_NODE_VERSION`,
// `ERR_PLATFORM_NOT_SUPPORTED`, `ERR_ADDON_NOT_INSTALLED`, `ERR_ADDON_VERSION`, `ERR_ADDON_NOT_ALLOWED` or
// `ERR_ADDON_NOT_LOADED`; docs/api.md says when.
export = lockFactory

/**
 * Makes a locker. Returns at once and connects in the background; calls made before the connection is up wait for
 * it.
 *
 * @throws TypeError or RangeError when the spec is wrong. The message names the option and what it was; `code` is
 * `ERR_DRIVER_NOT_SUPPORTED`, `ERR_PREFIX_REQUIRED`, `ERR_UNKNOWN_OPTION`, `ERR_INVALID_ARG_TYPE` or
 * `ERR_OUT_OF_RANGE`.
 *
 * @example
 * const locker = lockFactory({
 *   driver: 'redis',
 *   config: { host: '127.0.0.1', port: 6379 },
 *   settings: { prefix: 'lock:' },
 * })
 */
declare function lockFactory(spec: lockFactory.LockerSpec): lockFactory.Locker

declare namespace lockFactory {
  export { lockFactory, lockFactory as default }

  /**
   * The name of a resource's lock in Redis, without the prefix: base64 of the SHA-256 of the string.
   *
   * @throws TypeError when it is not a string, or an empty one (`code`: `ERR_INVALID_ARG_TYPE`).
   *
   * @example
   * hash('User:1602') // 'YJvWkpo4o9IMnZm9va4WSU6rfF1x7NDK94dW3SCOevw='
   */
  export function hash(resourceId: string): string

  /**
   * A time: a number in the unit that each option names, or a string of a number, fractions allowed, and a unit
   * right behind it: milliseconds, seconds, minutes, hours or days. The same ranges hold for both.
   *
   * @example
   * const expire: Time = '1.5s'
   */
  type Time = number | `${number}ms` | `${number}s` | `${number}m` | `${number}h` | `${number}d`

  /**
   * What to make. A `switch` of drivers needs no other change: `'memory'` takes the same `config` and ignores it. Only
   * `settings.replicas` is refused there.
   */
  type LockerSpec = RedisSpec | MemorySpec

  /** Locks in Redis, seen by all who use the same server, database and prefix. */
  interface RedisSpec {
    driver: 'redis'
    /** How to reach Redis. Default: 127.0.0.1:6379, without a password, database 0. */
    config?: RedisConfig | null | undefined
    settings: Settings
  }

  /** Locks in this process, seen by all lockers in it that have the same prefix, in worker threads too. */
  interface MemorySpec {
    driver: 'memory'
    /** Ignored. */
    config?: RedisConfig | null | undefined
    settings: Settings
  }

  interface Settings {
    /** In front of the name of every lock. Not empty; glob characters have no special meaning. */
    prefix: string
    /**
     * The longest that one call may wait for Redis, connection trouble included, before it rejects with
     * `ConnectionError`: a whole number of milliseconds from 1 to 3600000. Default: 10000. With `retry` or `timeout`,
     * it is the limit of each attempt.
     */
    commandTimeout?: Time | null | undefined
    /**
     * A lock counts only when so many replicas of the server have it, as `WAIT` says: until then the call does not
     * resolve. With too few in time the lock is given back, and the call rejects with `ReplicationError`. A whole
     * number from 0 to 2147483647; 0 is for no replica. Default: 0. Renewals and `extend` are not confirmed. Refused
     * with the driver `'memory'`, whose locks have no replicas.
     *
     * @example
     * const settings = { prefix: 'lock:', replicas: 1, replicaTimeout: '250ms' }
     */
    replicas?: number | null | undefined
    /**
     * How long a call waits for the replicas, from the moment when it has the lock: a whole number of milliseconds
     * from 1 to 3600000. Default: 1000. The time that the call may take in all, `commandTimeout` or `timeout`, goes on
     * meanwhile. Goes with `replicas`.
     */
    replicaTimeout?: Time | null | undefined
  }

  /**
   * The options of node_redis 2.x, each in snake_case or in camelCase. `undefined` and `null` mean that nothing was
   * said. An option that is not listed is refused.
   */
  type RedisConfig = Absentable<RedisOptions & CamelCased<RedisOptions>>

  /** The options in snake_case. */
  interface RedisOptions {
    /** Host name or address. Default: `'127.0.0.1'`. */
    host: string
    /** From 1 to 65535, as a number or as its digits. Default: 6379. */
    port: number | string
    /** A Unix socket. Takes the place of `host` and `port`. */
    path: string
    /**
     * `redis://user:password@host:port/db`, `rediss://…` for TLS, `unix:///path` or the path of a socket. What it says
     * goes before the other options.
     */
    url: string
    /**
     * Redis is a cluster: some of its nodes, at least one, from which the others are learned. Takes the place of `host` and
     * `port`. Prefixes with a brace need a hash tag (`{app}`), and there is database 0 alone.
     */
    nodes: readonly NodeAddress[]
    /** `true`: Redis is a cluster, of which `host` and `port`, or `url`, name one node. Default: `true` with `nodes`. */
    cluster: boolean
    /**
     * With a cluster: where nodes are that cannot be reached as the cluster names them, by `'host:port'` as it does.
     *
     * @example
     * const natMap = { '10.0.0.1:6379': { host: 'redis.example', port: 7000 } }
     */
    natMap: Readonly<Record<string, { host: string; port: number | string }>>
    /** For the ACL of Redis 6 and newer. Default: the user `default`. */
    username: string
    /** The same as `username`. */
    user: string
    password: string
    /** The same as `password`, and goes before it. */
    auth_pass: string
    /** The number of the database, from 0 on, as a number or as its digits. Default: 0. */
    db: number | string
    /**
     * The same as `db`. lock-inc 1.2.0 ignored it, so without `db` beside it a number other than 0 emits a process
     * warning with the code `LOCK_INC_DATABASE`, once.
     */
    database: number | string
    /** Which addresses of the host are tried. Default: both. */
    family: 'IPv4' | 'IPv6' | 4 | 6 | 0
    /** `true`, or options of the TLS client. Default: no TLS. */
    tls: boolean | TlsOptions
    /**
     * Sentinels that say where the primary is: at least one, they know of the others. Takes the place of `host`, `port`
     * and `path`, with any of which it throws a `RangeError`, and needs `name`. All other options, `tls`, `username` and
     * `password` among them, are for the primary.
     *
     * @example
     * lockFactory({
     *   driver: 'redis',
     *   config: { sentinels: [{ host: 'sentinel-1' }, { host: 'sentinel-2' }], name: 'mymaster' },
     *   settings: { prefix: 'lock:' },
     * })
     */
    sentinels: readonly SentinelAddress[]
    /** What the sentinels call the group of servers. Goes with `sentinels`; a `TypeError` without. */
    name: string
    /** For the ACL of the sentinels. Default: the user `default`. Goes with `sentinels`. */
    sentinelUsername: string
    /** The password of the sentinels. Default: none. Goes with `sentinels`. */
    sentinelPassword: string
    /** `true`, or options of the TLS client for the sentinels. Default: no TLS. Goes with `sentinels`. */
    sentinelTls: boolean | Omit<TlsOptions, 'host' | 'port'>
    /** In front of every key, before `settings.prefix`. Default: none. */
    prefix: string
    /**
     * How long to go on trying to connect before giving up for good: a whole number of milliseconds from 1 to
     * 2147483647. Default: no limit. No effect with `retry_strategy`. With a cluster it throws a `RangeError`.
     */
    connect_timeout: Time
    /**
     * How many times in a row to try to connect before giving up for good: a whole number from 0 on; 0 is no limit.
     * Default: 0, the only value with a cluster, where any other throws a `RangeError`. No effect with
     * `retry_strategy`.
     */
    max_attempts: number
    /**
     * The longest time between two tries to connect: a whole number of milliseconds from 1 to 2147483647. Default:
     * 2000. No effect with `retry_strategy`.
     */
    retry_max_delay: Time
    /**
     * Decides when to try again to connect. Default: after 50 ms, then twice as long each time, with jitter. With a cluster it
     * throws a `RangeError`.
     */
    retry_strategy: RetryStrategy
    /** Whether calls wait for a connection. `false`: they reject at once while there is none. Default: `true`. */
    enable_offline_queue: boolean
    /** TCP keepalive. Default: `true`. */
    socket_keepalive: boolean
    /** TCP_NODELAY. Default: `true`. */
    socket_nodelay: boolean

    /** No effect: there is one parser. */
    parser: unknown
    /** No effect: no command of a lock returns such a number. */
    string_numbers: unknown
    /** No effect: no call returns what was stored. */
    return_buffers: unknown
    /** No effect: no call returns what was stored. */
    detect_buffers: unknown
    /** No effect: calls wait while the server is loading its data. */
    no_ready_check: unknown
    /** No effect: every command of a lock can be sent again safely, and is. */
    retry_unfulfilled_commands: unknown
    /** No effect: the locker subscribes to the news of its locks on every connection. */
    disable_resubscribing: unknown
    /** No effect: an idle locker never keeps the process alive. */
    retry_unref: unknown
    /** No effect: keepalive starts with the system's delay. */
    socket_initialdelay: unknown
    /** No effect, as `socket_initialdelay`. */
    socket_initial_delay: unknown

    /** Refused unless empty: the scripts call commands by their own names. */
    rename_commands: Record<string, never>
    /** Refused: use `host` and `port`, `path` or `url`. */
    stream: undefined
  }

  /** Where a node of a cluster is. */
  interface NodeAddress {
    /** Host name or address. Default: `'127.0.0.1'`. */
    host?: string | null | undefined
    /** From 1 to 65535, as a number or as its digits. Default: 6379. */
    port?: number | string | null | undefined
  }

  /** Where a sentinel is. */
  interface SentinelAddress {
    /** Host name or address. Default: `'127.0.0.1'`. */
    host?: string | null | undefined
    /** From 1 to 65535, as a number or as its digits. Default: 26379. */
    port?: number | string | null | undefined
  }

  /** Options of the TLS client, as `tls.connect` of Node.js has them. PEM only. */
  interface TlsOptions {
    /** The authorities to trust. Default: those that Node.js trusts, `NODE_EXTRA_CA_CERTS` included. */
    ca?: Pem | null | undefined
    /** The client's certificate chain; goes with `key`. */
    cert?: Pem | null | undefined
    /** The client's private key; goes with `cert`. */
    key?: Pem | null | undefined
    /** Whose certificate is expected. Default: the host. */
    servername?: string | null | undefined
    /** `false` accepts every certificate. Default: `true`, or `false` with `NODE_TLS_REJECT_UNAUTHORIZED=0`. */
    rejectUnauthorized?: boolean | null | undefined
    /** Goes before `config.host`. */
    host?: string | null | undefined
    /** From 1 to 65535, as a number or as its digits. Goes before `config.port`. */
    port?: number | string | null | undefined
  }

  /** A `Buffer` is a `Uint8Array`. */
  type Pem = string | Uint8Array | ReadonlyArray<string | Uint8Array>

  /**
   * Returns the milliseconds until the next try to connect. Anything but a number means to give up for good; an
   * `Error` says why, and becomes the `cause` of the `ConnectionError`.
   *
   * @example
   * const retry_strategy = ({ attempt }) => (attempt > 10 ? new Error('enough') : attempt * 100)
   */
  type RetryStrategy = (trouble: RetryTrouble) => number | Error | null | undefined

  interface RetryTrouble {
    /** Number of this retry, from 1; starts again after a connection that has lasted for a second. */
    attempt: number
    /** Milliseconds since the connection was there. */
    total_retry_time: number
    /** How often a connection was made. */
    times_connected: number
    /** Why there is none. */
    error: Error & { code: string }
  }

  /**
   * Takes locks and gives them up. The methods may be called detached.
   *
   * Wrong arguments throw a `TypeError` or `RangeError` at once. Everything that depends on Redis rejects:
   * `ConnectionError` when it cannot be reached, `RedisError` when it answers with an error, `ClosedError` after
   * `close()`.
   */
  interface Locker {
    /** The class of the error that `lock` rejects with when somebody else holds the resource. */
    readonly ResourceLockedError: typeof ResourceLockedError

    /**
     * Takes the lock on a resource.
     *
     * @param resourceId Any string but the empty one. An array of names, 1000 at the most, locks all of them or none:
     * in one step where all are to be had, else in an order that cannot deadlock, each kept until all are there. A name
     * that is given twice counts once.
     * @returns A promise of the lock. Rejects with `ResourceLockedError` when somebody else holds the resource, be it
     * when `timeout` has passed; with the reason of `signal` when that aborts before. Whoever waits is served in order
     * of arrival, over all processes and modes.
     *
     * @example
     * const lock = await locker.lock('User:1602', { expire: 30, timeout: 5000 })
     * try {
     *   await work()
     * } finally {
     *   await lock.unlock()
     * }
     */
    lock(this: void, resourceId: string, options?: LockOptions | null): Promise<Lock>
    lock(this: void, resourceIds: readonly string[], options?: LockOptions | null): Promise<LockSet>

    /**
     * As `lock`, but resolves to `null` where that rejects with `ResourceLockedError`.
     *
     * @example
     * const lock = await locker.tryLock('report:daily')
     * if (lock === null) return
     */
    tryLock(this: void, resourceId: string, options?: LockOptions | null): Promise<Lock | null>
    tryLock(this: void, resourceIds: readonly string[], options?: LockOptions | null): Promise<LockSet | null>

    /**
     * Gives up a lock that this locker holds. With the id of a resource: the newest of this locker's locks on it.
     *
     * @returns A promise of `true`, or of `false` when this locker does not hold it, or does not hold it any more.
     * @throws Error `Not locked` when it is given a lock that was unlocked before; TypeError when that lock came from
     * another locker.
     *
     * @example
     * await locker.unlock('User:1602')
     */
    unlock(this: void, lockOrResourceId: Lock | LockSet | string): Promise<boolean>

    /**
     * Runs a callback under a lock, as `navigator.locks.request()` of the Web Locks specification does
     * (https://w3c.github.io/web-locks/): waits until the lock is granted, renews it while the callback runs, and
     * unlocks when that has settled. Requests are granted in order of arrival, over all processes and modes.
     *
     * @param name Any string but the empty one and those that begin with `-`; or an array of such names, as for `lock`.
     * @param callback Gets the lock; with `ifAvailable`, `null` where somebody else holds it.
     * @returns A promise of what the callback returns, or a rejection with what it throws, also when the lock was lost
     * meanwhile: the lock's `signal` tells that. Only if somebody has stolen it, the promise rejects at once, with a
     * `DOMException` named `AbortError`, and the callback goes on. Before the callback runs, it rejects as `lock` does.
     * Wrong arguments reject, too: with a `TypeError`, a `RangeError`, or a `DOMException` named `NotSupportedError` (a
     * reserved name, `steal` or `ifAvailable` together with `signal` or each other, `steal` of a shared lock).
     *
     * @example
     * const report = await locker.request('report:daily', async (lock) => build(lock.signal))
     */
    request<T>(
      this: void,
      names: readonly string[],
      callback: (lock: RequestedLockSet) => T,
    ): Promise<Awaited<T>>
    request<T>(
      this: void,
      names: readonly string[],
      options: (RequestOptions & { ifAvailable?: false | null | undefined }) | null | undefined,
      callback: (lock: RequestedLockSet) => T,
    ): Promise<Awaited<T>>
    request<T>(
      this: void,
      names: readonly string[],
      options: RequestOptions | null | undefined,
      callback: (lock: RequestedLockSet | null) => T,
    ): Promise<Awaited<T>>
    request<T>(this: void, name: string, callback: (lock: RequestedLock) => T): Promise<Awaited<T>>
    request<T>(
      this: void,
      name: string,
      options: (RequestOptions & { ifAvailable?: false | null | undefined }) | null | undefined,
      callback: (lock: RequestedLock) => T,
    ): Promise<Awaited<T>>
    request<T>(
      this: void,
      name: string,
      options: RequestOptions | null | undefined,
      callback: (lock: RequestedLock | null) => T,
    ): Promise<Awaited<T>>

    /**
     * Whether anybody holds the resource.
     *
     * @example
     * if (await locker.isLocked('User:1602')) return
     */
    isLocked(this: void, resourceId: string): Promise<boolean>

    /**
     * Who holds the resource, and who waits for it. Asking is no attempt to take it.
     *
     * @returns A promise of what is known, or of `null` when nobody holds it and nobody waits.
     *
     * @example
     * const found = await locker.inspect('User:1602')
     * if (found) console.log(found.holders[0]?.host, found.holders[0]?.leaseLeft)
     */
    inspect(this: void, resourceId: string): Promise<Inspection | null>

    /**
     * Everything that is held and waited for under the locker's prefix, as `navigator.locks.query()` of the Web Locks
     * specification tells it: of this locker to the moment; of others what has lasted for some 100 ms. Locks of
     * lock-inc 1.2.0 are not among it. Costs the server one look at each lock.
     *
     * @returns A promise of what is held, in the order of the grants, and of what is waited for, in order of arrival.
     *
     * @example
     * const { held } = await locker.query()
     * for (const { name, host, pid, since } of held) console.log(name, host, pid, since)
     */
    query(this: void): Promise<Snapshot>

    /**
     * Takes the resource away from whoever holds it, and tells the holder, whose lock is lost (`purged`).
     *
     * @returns A promise of whether anybody held it.
     *
     * @example
     * await locker.forceUnlock('User:1602')
     */
    forceUnlock(this: void, resourceId: string): Promise<boolean>

    /**
     * Removes every lock under the locker's prefix, whoever holds it, and tells the holders, whose locks are lost
     * (`purged`).
     *
     * @example
     * await locker.purge()
     */
    purge(this: void): Promise<void>

    /**
     * Ends the connection after what is in flight has settled. Whoever waits for a lock, and every later call, is
     * rejected with `ClosedError`. Locks that are held are not renewed any more and stay until their leases end. May
     * be called again.
     *
     * A locker that nobody can reach any more is closed when it is garbage collected. One that holds a lock, renewed or not,
     * is not collected, nor is one of which a call is under way.
     *
     * @example
     * await locker.close()
     */
    close(this: void): Promise<void>
  }

  /** Who may hold a resource at the same time: nobody else, or others that share it. */
  type LockMode = 'exclusive' | 'shared'

  interface LockOptions {
    /**
     * `'shared'`: others may hold the resource at the same time, if their locks are shared, too, as readers do beside each
     * other; an exclusive lock waits until all of them have gone. Nobody overtakes those who wait, whatever their mode.
     * Default: `'exclusive'`.
     *
     * @example
     * const lock = await locker.lock('price list', { mode: 'shared' })
     */
    mode?: LockMode | null | undefined
    /**
     * With `mode: 'shared'`: a semaphore, which at most so many hold at once, this one included. A whole number from 1 to
     * 2147483647. Each attempt is judged by its own limit, so all should have the same. Default: no limit.
     *
     * @example
     * const permit = await locker.lock('mail server', { mode: 'shared', limit: 5, timeout: 10_000 })
     */
    limit?: number | null | undefined
    /**
     * Takes the resource from whoever holds it, before those who wait. The holders are told: their locks are lost
     * (`stolen`). If another one steals it in turn at the same time, the promise may reject with `ResourceLockedError`. Does
     * not go with `retry`, `timeout`, `mode: 'shared'` and several resources. Default: `false`.
     */
    steal?: boolean | null | undefined
    /**
     * The lease: how long the lock lives without an unlock or a renewal. Seconds, fractions allowed, from 0.01 to 1e9.
     * 0 means the default, 60. A plain number of more than 86400, a day, emits a process warning with the code
     * `LOCK_INC_EXPIRE`, once: it may be meant in milliseconds.
     */
    expire?: Time | null | undefined
    /**
     * Whether to wait while somebody else holds the resource, for `retryInterval * maxRetryAttempts` ms in all. Default:
     * `false`.
     */
    retry?: boolean | null | undefined
    /** With `retry`: a whole number from 0 on, or `Infinity`. Default: 20. Does not go with `timeout`. */
    maxRetryAttempts?: number | null | undefined
    /**
     * Time between two looks at a lock of which nobody will tell the end, as it is held by lock-inc 1.2.0: milliseconds
     * from 0 to 2147483647. Default: 200.
     */
    retryInterval?: Time | null | undefined
    /**
     * Waits for so long, without `retry` too, while somebody else holds the resource, there is no connection, or the
     * server is loading or busy: milliseconds from 0 on, or `Infinity`. 0 is one attempt. Default: as `retry` says.
     * Where Redis does not answer at the end, the call may settle as much later again, half a second at the most.
     */
    timeout?: Time | null | undefined
    /**
     * Ends the waiting: the promise rejects with the signal's reason, and what is granted all the same is given back.
     * Has no effect on a lock that was granted.
     */
    signal?: Signal | null | undefined
    /**
     * Whether the lease is renewed, each time that a third of it has passed, until the lock is unlocked or lost.
     * Default: `false`.
     */
    renew?: boolean | null | undefined
    /**
     * With `renew`: no lease reaches beyond this, whether the first, a renewal's, or one set by `extend`. Seconds from
     * the grant on, from 0.01 to 1e9. Default: no limit.
     */
    maxHold?: Time | null | undefined
    /**
     * With `renew`: there is no renewal while the JavaScript thread has not run for longer than this. Seconds, from
     * 0.01 to 1e9. Default: no limit.
     */
    maxBlocked?: Time | null | undefined
  }

  /** As for `lock`, where the names are the same. */
  interface RequestOptions {
    /** As for `lock`. Default: `'exclusive'`. */
    mode?: LockMode | null | undefined
    /** With `mode: 'shared'`: at most so many hold the lock at once, from 1 to 2147483647. Default: no limit. */
    limit?: number | null | undefined
    /**
     * Does not wait: the callback gets `null` where somebody else holds the lock. Does not go with `signal` or
     * `timeout`. Default: `false`.
     */
    ifAvailable?: boolean | null | undefined
    /**
     * Takes the lock from whoever holds it, before those who wait; the promises of their requests reject with an
     * `AbortError`. Does not go with `mode: 'shared'`, `ifAvailable`, `signal` and `timeout`. Default: `false`.
     */
    steal?: boolean | null | undefined
    /** Ends the waiting, as for `lock`. */
    signal?: Signal | null | undefined
    /** The lease in seconds, from 0.01 to 1e9. It is renewed. Default: 60. */
    expire?: Time | null | undefined
    /** As for `lock`: seconds, from 0.01 to 1e9. Default: no limit. */
    maxHold?: Time | null | undefined
    /** As for `lock`: seconds, from 0.01 to 1e9. Default: no limit. */
    maxBlocked?: Time | null | undefined
    /** How long to wait for the lock: milliseconds from 0 on, or `Infinity`. Default: `Infinity`. */
    timeout?: Time | null | undefined
  }

  /**
   * A lock that was granted.
   *
   * It has `[Symbol.asyncDispose]()`, which unlocks if that has not been done and does not reject. It is declared if
   * the compiler knows the symbol, from the lib `esnext.disposable` or from `@types/node`.
   *
   * @example
   * await using lock = await locker.lock('User:1602')
   */
  interface Lock extends AsyncDispose {
    /** What is locked. */
    readonly resourceId: string
    /** The lock's name in Redis, without the prefix: `hash(resourceId)`. */
    readonly key: string
    /**
     * The fencing token: a whole number, greater than that of every lock granted before on the same resource. Hand it
     * on to what the lock protects, so that it can refuse whoever comes with a smaller one.
     */
    readonly token: number
    /**
     * Whether the lock can still be relied on: it is neither unlocked nor lost, and its lease runs. Computed from the
     * clock, without asking Redis, so it is right also when the event loop has just been blocked.
     *
     * @example
     * for (const row of rows) {
     *   if (!lock.held) throw new Error('The lock was lost')
     *   write(row, lock.token)
     * }
     */
    readonly held: boolean
    /**
     * Aborts, with a `LockLostError`, when the lock can no longer be relied on; not when it is unlocked.
     *
     * @example
     * const answer = await fetch(url, { signal: lock.signal })
     */
    readonly signal: Signal

    /**
     * For how many milliseconds the lock can still be relied on if it is not renewed; 0 if `held` is `false`.
     *
     * @example
     * if (lock.remaining() < 1000) await lock.extend(30)
     */
    remaining(): number

    /**
     * Gives the lock a new lease from now on, longer or shorter than the last one, but not beyond `maxHold`. From the
     * next renewal on, if the lock is renewed, `expire` counts again.
     *
     * @param seconds From 0.01 to 1e9, fractions allowed; or a string with a unit.
     * @returns A promise of `true`, or of `false` when the lock is unlocked or lost. When it rejects because Redis did
     * not answer, there may be a new lease all the same.
     * @throws TypeError or RangeError, at once, when `seconds` is not such a time.
     *
     * @example
     * if (!(await lock.extend(30))) throw new Error('lost')
     */
    extend(seconds: Time): Promise<boolean>

    /**
     * Gives up the lock. May be called detached; arguments are ignored.
     *
     * @returns A promise of `true`, or of `false` when the lock had expired or been taken away.
     * @throws Error `Not locked`, at once, when called again.
     *
     * @example
     * locker.lock('User:1602').then((lock) => work().finally(lock.unlock))
     */
    unlock(this: void, ...ignored: unknown[]): Promise<boolean>
  }

  /**
   * Locks on several resources, granted together, as one.
   *
   * @example
   * await using lock = await locker.lock(['account:1', 'account:2'], { timeout: 5000 })
   * await transfer(lock.tokens.get('account:1'), lock.tokens.get('account:2'))
   */
  interface LockSet extends AsyncDispose {
    /** What is locked, in the order in which it was named. */
    readonly resourceIds: readonly string[]
    /** The fencing token of each resource. */
    readonly tokens: ReadonlyMap<string, number>
    /** Whether all of them can still be relied on: see {@link Lock.held}. */
    readonly held: boolean
    /** Aborts, with a `LockLostError` that names the resource, when the first of them is lost. */
    readonly signal: Signal

    /** For how many milliseconds all of them can still be relied on. */
    remaining(): number

    /**
     * Gives each of them a new lease: see {@link Lock.extend}.
     *
     * @returns A promise of whether all have it.
     */
    extend(seconds: Time): Promise<boolean>

    /**
     * Gives all of them up. May be called detached; arguments are ignored.
     *
     * @returns A promise of whether all of them were still held.
     * @throws Error `Not locked`, at once, when called again.
     */
    unlock(this: void, ...ignored: unknown[]): Promise<boolean>
  }

  /** The locks that a callback of `request` runs under, where that was given several names. */
  interface RequestedLockSet {
    /** What is locked, in the order in which it was named. */
    readonly names: readonly string[]
    readonly mode: LockMode
    /** The fencing token of each name. */
    readonly tokens: ReadonlyMap<string, number>
    /** Aborts, with a `LockLostError`, when the first of them can no longer be relied on. */
    readonly signal: Signal
  }

  /** The lock that a callback of `request` runs under. */
  interface RequestedLock {
    /** What is locked. */
    readonly name: string
    readonly mode: LockMode
    /** The fencing token, as that of `Lock`. */
    readonly token: number
    /** Aborts, with a `LockLostError`, when the lock can no longer be relied on. */
    readonly signal: Signal
  }

  /** What is held and waited for. */
  interface Snapshot {
    readonly held: readonly HeldLock[]
    readonly pending: readonly PendingLock[]
  }

  /** A lock that somebody holds. What is `null` is not known: its locker has gone. */
  interface HeldLock {
    /** What is locked. Of other lockers, its first 256 bytes in UTF-8. */
    readonly name: string
    readonly mode: LockMode
    /** The random id of its locker. */
    readonly clientId: string | null
    /** The name of its machine. */
    readonly host: string | null
    /** The id of its process. */
    readonly pid: number | null
    /** When it got the lock, by the clock of Redis. */
    readonly since: Date | null
    /** Its fencing token. */
    readonly token: number | null
    /** Milliseconds that the lock still lives without an unlock or a renewal. */
    readonly leaseLeft: number
  }

  /** A call that waits for a lock. */
  interface PendingLock extends Waiter {
    /** What is to be locked. Of other lockers, its first 256 bytes in UTF-8. */
    readonly name: string
  }

  /** What is known of a resource that is held. */
  interface Inspection {
    /**
     * One, or those who share it, the one that has had it for longest first; or none, for the moment between the end of a
     * lease and the next grant.
     */
    readonly holders: readonly InspectedHolder[]
    /** Who waits, in the order in which they will have their turns. */
    readonly waiters: readonly Waiter[]
    /** Attempts on the resource since it was taken, the holder's included: 1 or more, and 0 without a holder. */
    readonly count: number
  }

  /** A call that waits for a resource. */
  interface Waiter {
    /** The random id of its locker. */
    readonly clientId: string
    /** The name of its machine. */
    readonly host: string
    /** The id of its process. */
    readonly pid: number
    /** Since when it has been waiting, by the clock of Redis. */
    readonly since: Date
    readonly mode: LockMode
  }

  /** A {@link Holder}; of lock-inc 1.2.0, which does not tell, nothing is known but the lease. */
  interface InspectedHolder {
    readonly clientId: string | null
    readonly host: string | null
    readonly pid: number | null
    readonly since: Date | null
    readonly token: number | null
    /** Milliseconds that the lock still lives without an unlock or a renewal. */
    readonly leaseLeft: number
    readonly mode: LockMode
  }

  /** Who holds a resource. */
  interface Holder {
    /** A random id of the holder's locker. */
    readonly clientId: string
    /** The name of its machine. */
    readonly host: string
    /** The id of its process. */
    readonly pid: number
    /** When it got the lock, by the clock of Redis; `null` while that is not told, which is for its first 0.1 s. */
    readonly since: Date | null
    /** Its fencing token; `null` while that is not told. */
    readonly token: number | null
  }

  /** An error from below: of the operating system, of TLS, or the server's own words. */
  interface Cause extends Error {
    /** `ECONNREFUSED`, `CERT_HAS_EXPIRED` and the like, as Node.js has them, or the first word of the server's reply. */
    readonly code: string
  }

  type RedisErrorCode =
    /** Redis wants a password. */
    | 'ERR_REDIS_NOAUTH'
    /** Redis does not accept the credentials. */
    | 'ERR_REDIS_WRONGPASS'
    /** The Redis user may not do this. */
    | 'ERR_REDIS_NOPERM'
    /** A read-only replica, up to the deadline: in a failover the new primary is waited for. */
    | 'ERR_REDIS_READONLY'
    /** The primary has fewer replicas than its min-replicas-to-write wants, up to the deadline. */
    | 'ERR_REDIS_NOREPLICAS'
    /** Redis has reached its maxmemory. */
    | 'ERR_REDIS_OOM'
    /** Redis is still loading its data set. */
    | 'ERR_REDIS_LOADING'
    /** Redis is busy with a script of another client. */
    | 'ERR_REDIS_BUSY'
    /** A node of a cluster that is moving the lock's slot to another one. */
    | 'ERR_REDIS_TRYAGAIN'
    /** Redis accepts no writes because it cannot save to disk. */
    | 'ERR_REDIS_MISCONF'
    /** A node of a cluster, of which `config` says nothing: set `config.cluster`. */
    | 'ERR_REDIS_MOVED'
    /** The cluster does not serve the lock's slot; until the deadline. */
    | 'ERR_REDIS_CLUSTERDOWN'
    /** A key of the lock holds something else than a lock. */
    | 'ERR_REDIS_WRONGTYPE'
    /** Redis has no such database. */
    | 'ERR_REDIS_DB'
    /** The server does not know a command that is needed. */
    | 'ERR_REDIS_VERSION'
    /** No sentinel knows a group of that name: check `config.name`. */
    | 'ERR_SENTINEL_NAME'
    /** Any other error; `cause` has the server's words. */
    | 'ERR_REDIS_REPLY'

  type LockErrorCode =
    | 'ERR_RESOURCE_LOCKED'
    | 'ERR_LOCK_LOST'
    | 'ERR_CONNECTION'
    | 'ERR_REPLICATION'
    | 'ERR_CLOSED'
    /** lock-inc itself has failed; what it said on stderr tells more. */
    | 'ERR_INTERNAL'
    | RedisErrorCode

  interface LockErrorFields<Code extends LockErrorCode> {
    code: Code
    resourceId?: string | undefined
    cause?: Cause | undefined
  }

  /**
   * Everything that a call rejects with, wrong arguments and the reason of a signal aside. Its subclasses tell what
   * happened, and so does `code`.
   *
   * @example
   * try {
   *   await locker.lock('User:1602')
   * } catch (error) {
   *   if (error instanceof LockError) console.log(error.code, error.resourceId)
   * }
   */
  export class LockError extends Error {
    constructor(message: string, fields: LockErrorFields<LockErrorCode>)
    /** Stable, for programs to read. */
    readonly code: LockErrorCode
    /** The resource that the call was about, if it was about one; of several, the one that is in the way. */
    readonly resourceId?: string
    /** The resources that the call was about, if it was about several. */
    readonly resourceIds?: readonly string[]
    /** What the error goes back to, where something below has said so. */
    readonly cause?: Cause
  }

  /**
   * Somebody else holds the resource. The message begins with `Resource locked`, and goes on with all that is known.
   *
   * @example
   * try {
   *   await locker.lock('User:1602')
   * } catch (error) {
   *   if (!(error instanceof ResourceLockedError)) throw error
   *   console.log(`held by ${error.holder?.host}, free in ${error.leaseLeft} ms at the latest`)
   * }
   */
  export class ResourceLockedError extends LockError {
    constructor(
      resourceId: string,
      numberOfLocks: number,
      more: {
        holder?: Holder | null | undefined
        leaseLeft: number
        position?: number | null | undefined
        /** How long the call has waited, in milliseconds; for the message. */
        waited?: number | undefined
      },
    )
    readonly name: 'ResourceLockedError'
    readonly code: 'ERR_RESOURCE_LOCKED'
    readonly resourceId: string
    readonly details: {
      readonly resourceId: string
      /** Attempts on the resource since it was taken, the holder's and this one included: 2 or more. */
      readonly numberOfLocks: number
    }
    /** Who holds it; `null` where the holder is lock-inc 1.2.0, which does not tell. */
    readonly holder: Holder | null
    /** Milliseconds that the holder's lock still lives without an unlock. */
    readonly leaseLeft: number
    /** The place in the queue when waiting ended, 1 for whoever was next; `null` for a call that did not wait. */
    readonly position: number | null
  }

  type LossReason =
    /** The lease has ended. */
    | 'expired'
    /** The lease has ended while a renewal was without an answer. */
    | 'connection'
    /** Somebody else holds the resource. */
    | 'stolen'
    /** The lock is gone from Redis: a purge, a forced unlock, an unlock by lock-inc 1.2.0, or a loss of data. */
    | 'purged'

  /**
   * A lock can no longer be relied on. No call rejects with it: it is the reason that `lock.signal` aborts with.
   *
   * @example
   * lock.signal.addEventListener('abort', () => {
   *   const error = lock.signal.reason
   *   if (error instanceof LockLostError) console.log(error.resourceId, error.token, error.reason)
   * })
   */
  export class LockLostError extends LockError {
    constructor(resourceId: string, token: number, reason: LossReason)
    readonly code: 'ERR_LOCK_LOST'
    readonly resourceId: string
    /** The fencing token of the lost lock. */
    readonly token: number
    readonly reason: LossReason
  }

  /**
   * Redis could not be reached, or did not answer in time.
   *
   * @example
   * if (error instanceof ConnectionError) console.log(error.cause?.code) // 'ECONNREFUSED'
   */
  export class ConnectionError extends LockError {
    constructor(message: string, fields: LockErrorFields<'ERR_CONNECTION'>)
    readonly code: 'ERR_CONNECTION'
  }

  /**
   * Redis answered with an error.
   *
   * @example
   * if (error instanceof RedisError && error.code === 'ERR_REDIS_OOM') await freeMemory()
   */
  export class RedisError extends LockError {
    constructor(message: string, fields: LockErrorFields<RedisErrorCode>)
    readonly code: RedisErrorCode
  }

  /**
   * Too few replicas had the lock in time. It was given back, so nobody has it by this call. Only with
   * `settings.replicas`.
   *
   * @example
   * if (error instanceof ReplicationError) {
   *   const { wanted, confirmed } = error.details
   *   console.log(`${confirmed} of ${wanted} replicas follow: ${error.cause?.message}`)
   * }
   */
  export class ReplicationError extends LockError {
    constructor(
      message: string,
      fields: { resourceId: string; wanted: number; confirmed: number; cause?: Cause | undefined },
    )
    readonly code: 'ERR_REPLICATION'
    /** Of several resources, the first one that too few replicas had. */
    readonly resourceId: string
    readonly details: {
      readonly resourceId: string
      /** `settings.replicas`. */
      readonly wanted: number
      /** How many had it, as far as is known. */
      readonly confirmed: number
    }
  }

  /**
   * The locker was closed.
   *
   * @example
   * if (error instanceof ClosedError) return
   */
  export class ClosedError extends LockError {
    constructor(message: string, fields: LockErrorFields<'ERR_CLOSED'>)
    readonly code: 'ERR_CLOSED'
  }

  /**
   * What is published on the channels of `node:diagnostics_channel`, for all lockers of the thread. Times are in
   * milliseconds.
   */
  interface ChannelMessages {
    /** A call of `lock`, `tryLock` or `request` asks for locks. It ends with `acquire`, `contended` or `fail`. */
    'lock-inc:ask': AskMessage
    /** It waits: somebody else holds the resource. Of several resources, one after the other. */
    'lock-inc:wait': WaitMessage
    /** A lock was granted. Of several resources, each has a message of its own. */
    'lock-inc:acquire': AcquireMessage
    /** A call gives up, as somebody else holds the resource. */
    'lock-inc:contended': ContendedMessage
    /** A call has ended without a lock for any other reason. */
    'lock-inc:fail': FailMessage
    /** A lock has another lease, as `renew` wants it. */
    'lock-inc:renew': LockMessage
    /** A renewal was refused, or has had no answer. It is tried again while the lease runs. */
    'lock-inc:renew-failed': RenewFailedMessage
    /** A call of `lock.extend` has ended. */
    'lock-inc:extend': ExtendMessage
    /** A call of `unlock` has ended. Of several resources, each has a message of its own. */
    'lock-inc:release': ReleaseMessage
    /** A lock can no longer be relied on. */
    'lock-inc:lost': LostMessage
    /** The connection was lost, or a try to make one has failed. */
    'lock-inc:disconnect': DisconnectMessage
    /** There is a connection again. */
    'lock-inc:reconnect': ReconnectMessage
  }

  /**
   * The functions of `node:diagnostics_channel`, as they are for the channels of this module.
   *
   * @example
   * import diagnostics from 'node:diagnostics_channel'
   *
   * const { subscribe } = diagnostics as Channels
   * subscribe('lock-inc:lost', ({ resourceId, reason }) => console.warn(`lost ${resourceId}: ${reason}`))
   */
  interface Channels {
    subscribe<Name extends keyof ChannelMessages>(
      name: Name,
      listener: (message: ChannelMessages[Name], name: Name) => void,
    ): void
    unsubscribe<Name extends keyof ChannelMessages>(
      name: Name,
      listener: (message: ChannelMessages[Name], name: Name) => void,
    ): boolean
  }

  interface CallMessage {
    /** The number of the call, by which its messages belong together. No other call of the thread has it. */
    readonly call: number
    /** `settings.prefix` of the locker. */
    readonly prefix: string
  }

  interface AskMessage extends CallMessage {
    /** What is to be locked: one resource, or several. */
    readonly resourceIds: readonly string[]
    readonly mode: LockMode
    /** How many may share it; `null`: no limit, or it is exclusive. */
    readonly limit: number | null
    /** The lease. */
    readonly expire: number
    readonly renew: boolean
    /** How long it may wait: 0 is one attempt, `Infinity` for ever. */
    readonly timeout: number
    readonly steal: boolean
  }

  /** Who is in the way of a call, as in {@link ResourceLockedError}. */
  interface ContentionMessage extends CallMessage {
    readonly resourceId: string
    readonly holder: Holder | null
    readonly leaseLeft: number
    /** The place in the queue, 1 for whoever is next; `null` where it does not wait. */
    readonly position: number | null
    readonly numberOfLocks: number
  }

  /** `holder` is also `null` where the lock was taken so recently that it is not known yet by whom. */
  interface WaitMessage extends ContentionMessage {}

  interface ContendedMessage extends ContentionMessage {
    readonly mode: LockMode
    /** Since the call. */
    readonly duration: number
  }

  interface FailMessage extends CallMessage {
    readonly resourceIds: readonly string[]
    /** What the call rejects with. */
    readonly error: unknown
    /** Whether that is the reason of the call's `signal`. */
    readonly aborted: boolean
    readonly mode: LockMode
    /** Since the call. */
    readonly duration: number
  }

  interface LockMessage {
    /** The number of the lock, by which its messages belong together. No other lock of the thread has it. */
    readonly lock: number
    /** `settings.prefix` of the locker. */
    readonly prefix: string
    readonly resourceId: string
    /** The fencing token. */
    readonly token: number
  }

  interface AcquireMessage extends LockMessage, CallMessage {
    readonly mode: LockMode
    /** Whether the call had to wait for somebody else. Known of calls that were made while `wait` had a subscriber. */
    readonly waited: boolean
    /** Since the call. */
    readonly duration: number
  }

  interface RenewFailedMessage extends LockMessage {
    readonly error: LockError
  }

  interface ExtendMessage extends LockMessage {
    /** The lease that was asked for. */
    readonly lease: number
    /** What the call resolves to. */
    readonly extended: boolean | undefined
    /** What it rejects with. */
    readonly error: Error | undefined
  }

  interface ReleaseMessage extends LockMessage {
    /** What the call resolves to: `false` where the lock was not held any more. */
    readonly held: boolean | undefined
    /** What it rejects with. */
    readonly error: Error | undefined
    /** Since the grant. */
    readonly duration: number
  }

  interface LostMessage extends LockMessage {
    readonly reason: LossReason
    /** Since the grant. */
    readonly duration: number
  }

  interface ReconnectMessage {
    readonly locker: Locker
    /** `settings.prefix` of the locker. */
    readonly prefix: string
  }

  interface DisconnectMessage extends ReconnectMessage {
    /** Which server, and why. */
    readonly error: ConnectionError
  }

  // Named one by one, as otherwise the helpers below would be exported too.
  export {
    AbortSignalLike,
    AcquireMessage,
    AskMessage,
    CallMessage,
    Cause,
    ChannelMessages,
    Channels,
    ContendedMessage,
    ContentionMessage,
    DisconnectMessage,
    ExtendMessage,
    FailMessage,
    HeldLock,
    Holder,
    InspectedHolder,
    Inspection,
    Lock,
    LockErrorCode,
    LockErrorFields,
    Locker,
    LockerSpec,
    LockMessage,
    LockMode,
    LockOptions,
    LockSet,
    LossReason,
    LostMessage,
    MemorySpec,
    NodeAddress,
    Pem,
    PendingLock,
    ReconnectMessage,
    RedisConfig,
    RedisErrorCode,
    RedisSpec,
    ReleaseMessage,
    RenewFailedMessage,
    RequestedLock,
    RequestedLockSet,
    RequestOptions,
    RetryStrategy,
    RetryTrouble,
    SentinelAddress,
    Settings,
    Snapshot,
    Time,
    TlsOptions,
    Waiter,
    WaitMessage,
  }

  /** The part of an AbortSignal that is used, for compilers that know none. */
  interface AbortSignalLike {
    readonly aborted: boolean
    readonly reason: unknown
    throwIfAborted(): void
    addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
    removeEventListener(type: 'abort', listener: () => void): void
  }

  /** The AbortSignal of the lib `dom` or of `@types/node`: neither of them is needed. */
  type Signal = typeof globalThis extends { AbortSignal: { prototype: infer Known } }
    ? Known
    : AbortSignalLike

  /** Empty where the compiler does not know `Symbol.asyncDispose`. */
  type AsyncDispose = SymbolConstructor extends { readonly asyncDispose: infer Name extends symbol }
    ? { [Key in Name]: () => Promise<void> }
    : object

  type Camel<Name extends string> = Name extends `${infer Word}_${infer Rest}`
    ? `${Word}${Capitalize<Camel<Rest>>}`
    : Name

  type CamelCased<Options> = { [Name in keyof Options as Camel<Name & string>]: Options[Name] }

  type Absentable<Options> = { [Name in keyof Options]?: Options[Name] | null | undefined }
}
