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

  /** What to make. A `switch` of drivers needs no other change: `'memory'` takes the same `config` and ignores it. */
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
     * `ConnectionError`: a whole number of milliseconds from 1 to 3600000. Default: 10000. With `retry`, it is the
     * limit of each attempt.
     */
    commandTimeout?: number | null | undefined
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
    /** In front of every key, before `settings.prefix`. Default: none. */
    prefix: string
    /**
     * How long to go on trying to connect before giving up for good: a whole number of milliseconds from 1 to
     * 2147483647. Default: no limit. No effect with `retry_strategy`.
     */
    connect_timeout: number
    /**
     * How many times in a row to try to connect before giving up for good; 0 is no limit. Default: 0. No effect with
     * `retry_strategy`.
     */
    max_attempts: number
    /**
     * The longest time between two tries to connect: a whole number of milliseconds from 1 to 2147483647. Default:
     * 2000. No effect with `retry_strategy`.
     */
    retry_max_delay: number
    /** Decides when to try again to connect. Default: after 50 ms, then twice as long each time, with jitter. */
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
    /** No effect: there are no subscriptions. */
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

  /** Options of the TLS client, as `tls.connect` of Node.js has them. PEM only. */
  interface TlsOptions {
    /** The authorities to trust. Default: those of Mozilla. */
    ca?: Pem | null | undefined
    /** The client's certificate chain; goes with `key`. */
    cert?: Pem | null | undefined
    /** The client's private key; goes with `cert`. */
    key?: Pem | null | undefined
    /** Whose certificate is expected. Default: the host. */
    servername?: string | null | undefined
    /** `false` accepts every certificate. Default: `true`. */
    rejectUnauthorized?: boolean | null | undefined
    /** Goes before `config.host`. */
    host?: string | null | undefined
    /** Goes before `config.port`. */
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
    /** Number of this retry, from 1. */
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
     * @param resourceId Any string but the empty one.
     * @returns A promise of the lock. Rejects with `ResourceLockedError` when somebody else holds the resource, be it
     * only after the last retry.
     *
     * @example
     * const lock = await locker.lock('User:1602', { expire: 30 })
     * try {
     *   await work()
     * } finally {
     *   await lock.unlock()
     * }
     */
    lock(this: void, resourceId: string, options?: LockOptions | null): Promise<Lock>

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
    unlock(this: void, lockOrResourceId: Lock | string): Promise<boolean>

    /**
     * Whether anybody holds the resource.
     *
     * @example
     * if (await locker.isLocked('User:1602')) return
     */
    isLocked(this: void, resourceId: string): Promise<boolean>

    /**
     * Removes every lock under the locker's prefix, whoever holds it.
     *
     * @example
     * await locker.purge()
     */
    purge(this: void): Promise<void>

    /**
     * Ends the connection after what is in flight has settled. Whoever waits for a lock, and every later call, is
     * rejected with `ClosedError`. Locks that are held stay until they expire. May be called again.
     *
     * @example
     * await locker.close()
     */
    close(this: void): Promise<void>
  }

  interface LockOptions {
    /**
     * How long the lock lives without an unlock: seconds, fractions allowed, from 0.001 to 1e9. 0 means the default,
     * 60.
     */
    expire?: number | null | undefined
    /** Whether to try again while somebody else holds the resource. Default: `false`. */
    retry?: boolean | null | undefined
    /** How many more attempts follow the first one: a whole number from 0 on, or `Infinity`. Default: 20. */
    maxRetryAttempts?: number | null | undefined
    /** Time between two attempts: milliseconds from 0 to 2147483647. Default: 200. */
    retryInterval?: number | null | undefined
  }

  /** A lock that was granted. */
  interface Lock {
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

  /** Who holds a resource. */
  interface Holder {
    /** A random id of the holder's locker. */
    readonly clientId: string
    /** The name of its machine. */
    readonly host: string
    /** The id of its process. */
    readonly pid: number
    /** When it got the lock, by the clock of Redis. */
    readonly since: Date
    /** Its fencing token. */
    readonly token: number
  }

  /** An error from below: of the operating system, of TLS, or the server's own words. */
  interface Cause extends Error {
    /** `ECONNREFUSED` and the like, or the first word of the server's reply. */
    readonly code: string
  }

  type RedisErrorCode =
    /** Redis wants a password. */
    | 'ERR_REDIS_NOAUTH'
    /** Redis does not accept the credentials. */
    | 'ERR_REDIS_WRONGPASS'
    /** The Redis user may not do this. */
    | 'ERR_REDIS_NOPERM'
    /** A read-only replica. */
    | 'ERR_REDIS_READONLY'
    /** Redis has reached its maxmemory. */
    | 'ERR_REDIS_OOM'
    /** Redis is still loading its data set. */
    | 'ERR_REDIS_LOADING'
    /** Redis is busy with a script of another client. */
    | 'ERR_REDIS_BUSY'
    /** Redis accepts no writes because it cannot save to disk. */
    | 'ERR_REDIS_MISCONF'
    /** A node of a cluster that does not serve the lock's slot. */
    | 'ERR_REDIS_MOVED'
    /** A key of the lock holds something else than a lock. */
    | 'ERR_REDIS_WRONGTYPE'
    /** Redis has no such database. */
    | 'ERR_REDIS_DB'
    /** The server does not know a command that is needed. */
    | 'ERR_REDIS_VERSION'
    /** Any other error; `cause` has the server's words. */
    | 'ERR_REDIS_REPLY'

  type LockErrorCode = 'ERR_RESOURCE_LOCKED' | 'ERR_CONNECTION' | 'ERR_CLOSED' | RedisErrorCode

  interface LockErrorFields<Code extends LockErrorCode> {
    code: Code
    resourceId?: string | undefined
    cause?: Cause | undefined
  }

  /**
   * Everything that a call rejects with. Its subclasses tell what happened, and so does `code`.
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
    /** The resource that the call was about, if it was about one. */
    readonly resourceId?: string
    /** What the error goes back to, where something below has said so. */
    readonly cause?: Cause
  }

  /**
   * Somebody else holds the resource.
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
      more: { holder?: Holder | null | undefined; leaseLeft: number },
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
   * if (error instanceof RedisError && error.code === 'ERR_REDIS_READONLY') await failOver()
   */
  export class RedisError extends LockError {
    constructor(message: string, fields: LockErrorFields<RedisErrorCode>)
    readonly code: RedisErrorCode
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

  // Named one by one, as otherwise the helpers below would be exported too.
  export {
    Cause,
    Holder,
    Lock,
    LockErrorCode,
    LockErrorFields,
    Locker,
    LockerSpec,
    LockOptions,
    MemorySpec,
    Pem,
    RedisConfig,
    RedisErrorCode,
    RedisSpec,
    RetryStrategy,
    RetryTrouble,
    Settings,
    TlsOptions,
  }

  type Camel<Name extends string> = Name extends `${infer Word}_${infer Rest}`
    ? `${Word}${Capitalize<Camel<Rest>>}`
    : Name

  type CamelCased<Options> = { [Name in keyof Options as Camel<Name & string>]: Options[Name] }

  type Absentable<Options> = { [Name in keyof Options]?: Options[Name] | null | undefined }
}
