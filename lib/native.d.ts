/**
 * What the addon exports. This is the whole of the interface between `lib/` and `src/`.
 *
 * Arguments are trusted: `lib/options/` has checked them and filled in what was not said. An argument of a wrong type is
 * a bug of ours; it throws an `Error` of Node-API's that names no option. Times are in milliseconds, fractions allowed.
 *
 * Promises are rejected with a `Failure`, of which `lib/errors.js` makes the error: an `Error` that the addon makes would
 * be none to code in another context of the same thread, such as a test in jest.
 */

/** The version of the package that the addon belongs to. */
export function version(): string

/** A number that nobody in this process has had before, in whichever copy of `lib/`. */
export function newNumber(): number

/** Base64 of the SHA-256 of a string, which is not empty. */
export function hash(text: string): string

/**
 * Makes a locker, and begins to connect.
 *
 * @param hostname The name of this machine, which others are told.
 * @param listener Hears of the locker's events.
 * @param isNode Whether the event loop is that of Node.js, which can watch sockets.
 * @throws A `Failure` when something is wrong with `spec.redis.tls`, and nothing else.
 */
export function lockFactory(spec: Spec, hostname: string, listener: Listener, isNode: boolean): Locker

/**
 * Begins to connect to the servers of a `spec` with `redis`, as a locker does, for questions that are about no lock: those of
 * `lib/doctor/`. The other arguments and what is thrown are those of `lockFactory`. The connections that nobody else uses end when
 * the object is collected.
 */
export function inquire(spec: Spec, hostname: string, isNode: boolean): Inquiry

/**
 * From now on calls wait until they are enough to be sent together, or for `finish`. Called after the first call in a turn
 * of the event loop, which has been sent already.
 */
export function gather(): void

/** Sends what was called since `gather`. */
export function finish(): void

/**
 * Milliseconds on the clock that leases are measured with. Tests may fake the clocks of JavaScript, and a lease runs all the
 * same.
 */
export function now(): number

/** What to make. */
export interface Spec {
  /** Not empty. */
  prefix: string
  /** From 1 to 3600000. */
  commandTimeout: number
  /** How to reach Redis; `undefined` for locks in the memory of the process. */
  redis: Redis | undefined
}

export interface Redis {
  /** A Unix socket, which takes the place of `host`, `port` and `family`. */
  path: string | undefined
  /** Empty with sentinels. */
  host: string
  /** From 1 to 65535; 0 with sentinels. */
  port: number
  /** Where the nodes of a cluster are first asked for, at least one; `host` and `port` are the first. `undefined`: one server. */
  nodes: Node[] | undefined
  /** Where nodes of the cluster are, by what it calls them. */
  natMap: Nat[] | undefined
  /** Which addresses of the host are tried; 0: all. */
  family: 0 | 4 | 6
  /** Who says where the server is. Takes the place of `host` and `port`. */
  sentinel: Sentinel | undefined
  tls: Tls | undefined
  username: string | undefined
  password: string | undefined
  /** From 0 to 2147483647. */
  database: number
  /** In front of every key and of `Spec.prefix`; may be empty. */
  keyPrefix: string
  keepalive: boolean
  nodelay: boolean
  /** Whether a call may wait for a connection. */
  offlineQueue: boolean
  /** How many tries in a row to connect, the first one included; 0: no limit. */
  maxAttempts: number
  /** How long to go on trying to connect; 0: no limit. */
  maxTime: number
  /** The longest time between two tries. */
  maxDelay: number
  /**
   * The user's `retry_strategy`, bound to the async context of `lockFactory`. What it throws or returns never comes out of a
   * call of the addon.
   */
  strategy: ((trouble: object) => unknown) | undefined
  /** The same for all that have the same function, and may share a connection. Goes with `strategy`. */
  strategyNumber?: number
  /** How many replicas are to have a lock before its call resolves; 0: a grant counts at once. */
  replicas: number
  /** How long a call waits for them, from 1 on. */
  replicaTimeout: number
}

export interface Node {
  host: string
  /** From 1 to 65535. */
  port: number
}

/** The node that the cluster calls `from`, which is 'host:port', is reached at this address. */
export interface Nat extends Node {
  from: string
}

export interface Sentinel {
  /** What the sentinels call the group of servers. */
  name: string
  /** At least one. */
  addresses: Node[]
  username: string | undefined
  password: string | undefined
  /** Of the sentinels; that of the primary is `Redis.tls`. */
  tls: Tls | undefined
}

/** Nothing of it has been parsed. */
export interface Tls {
  /** PEM: the authorities to trust. */
  ca: Uint8Array[]
  /** PEM: the client's certificate chain; empty: none. */
  cert: Uint8Array
  /** PEM: the client's private key; empty: none. */
  key: Uint8Array
  /** Whose certificate is expected; `undefined`, with `nodes` or `sentinel` alone: that of each host. */
  servername: string | undefined
  /** `false`: every certificate is accepted. */
  verify: boolean
}

/** Hears of what happens to a locker, and to locks of which `lock` may not have resolved yet. Must not throw. */
export type Listener = (
  ...told:
    | [event: 'lost', nonce: number, reason: string]
    | [event: 'renew', nonce: number, detail: null]
    | [event: 'renewFailed', nonce: number, why: Failure]
    | [event: 'wait', call: number, inTheWay: Contention]
    | [event: 'disconnect', number: null, why: Failure]
    | [event: 'reconnect', number: null, detail: null]
) => void

/** Who is in the way of a call that waits. */
export interface Contention {
  resourceId: string
  /** Absent where that is lock-inc 1.2.0. */
  holder?: Holder
  numberOfLocks: number
  leaseLeft: number
  /** The place in the queue. */
  position?: number
}

/** How a lock is to be taken. */
export type HowToLock = [
  /** The lease; 1 or more. */
  expire: number,
  /** How long to wait while somebody else holds the resource. 0: one attempt. `Infinity`: without an end. */
  wait: number,
  /** Time between two looks at a lock whose end nobody will tell. */
  interval: number,
  /** Whether the lock is renewed until it is unlocked. */
  renew: boolean,
  /** How long a renewed lock is held at the most; 0: no limit. */
  maxHold: number,
  /** How long this thread may not run before renewal stops; 0: no limit. */
  maxBlocked: number,
  /** What the listener knows the call by: it is told when that waits, and of renewals of its locks. 0: it is told of neither. */
  call: number,
  /** How many may share the lock; 0: any number; -1: it is exclusive. */
  limit: number,
  /** Whether the lock is taken from whoever holds it. Goes with `wait` 0. */
  steal: boolean,
  /** What `cancel` and `forget` know the call by. 0: it is never cancelled. */
  cancellation: number,
]

/**
 * An object of functions without `this`. A `resourceId` is never empty; a `nonce` is one that `lock` has resolved to, and the
 * name of that lock. When it is collected, what it stands for is closed.
 */
export interface Locker {
  /** The functions that the addon calls, its listener first. It keeps neither of them itself: each may refer to the locker. */
  called: [Listener, Redis['strategy'] | null]
  /** A promise of the lock's nonce and its fencing token. */
  lock(resourceId: string, ...how: HowToLock): Promise<[nonce: number, token: number]>
  /** A promise of nonce and token of each, one behind the other. The names are different ones, and `steal` is `false`. */
  lockAll(resourceIds: string[], ...how: HowToLock): Promise<number[]>
  /**
   * Gives up the call with this number, or one that is still to come: it rejects with the code `ERR_CANCELLED`. Goes on until
   * `forget`.
   */
  cancel(cancellation: number): void
  /** A call that has a number for its cancellation has ended. */
  forget(cancellation: number): void
  /** A promise of whether the lock was still held. */
  unlock(nonce: number): Promise<boolean>
  /**
   * Gives up what the store may still keep of this locker's locks on the resource that were lost, and no other: not one whose
   * nonce has only not been heard of yet. A promise of `false`, as none of them was still held.
   */
  unlockLost(resourceId: string): Promise<false>
  /** For how long the lock can be relied on; 0 once it is lost or unlocked. Never asks the store. */
  remaining(nonce: number): number
  /** A promise of whether the lock has a new lease, of this length from now on. */
  extend(nonce: number, lease: number): Promise<boolean>
  /** A promise of whether anybody holds the resource. */
  isLocked(resourceId: string): Promise<boolean>
  /** A promise of who holds the resource and who waits for it; `null` where nobody does. */
  inspect(resourceId: string): Promise<Inspection | null>
  /** A promise of everything that is held and waited for, each in order. */
  query(): Promise<Snapshot>
  /** A promise of whether somebody has lost the resource. */
  forceUnlock(resourceId: string): Promise<boolean>
  purge(): Promise<void>
  close(): Promise<void>
}

/** An object of functions without `this`. */
export interface Inquiry {
  /** A promise of the names of the servers that have locks: one, or the primaries of a cluster. Rejects where none is reached. */
  servers(): Promise<string[]>
  /** The names of the sentinels that are known by now. */
  sentinels(): string[]
  /** A promise of the answers of one of them, asked one question after the other on a connection of its own. */
  ask(name: string, questions: string[][]): Promise<Answers>
}

export interface Answers {
  /** How lockers are connected to this server: whether by RESP3, and whether messages come. Absent of a sentinel. */
  isResp3?: boolean
  isSubscribed?: boolean
  /** `took`: in milliseconds; `at`: when it came, in milliseconds since 1970. */
  answers: { answer: Answer; took: number; at: number }[]
}

/** A map is an array of keys and values; an error reply is an object. */
export type Answer = null | number | string | Answer[] | { code: string; message: string }

export interface Inspection {
  /** None where nobody holds the resource at the moment. `holder` is absent where that is lock-inc 1.2.0, or unknown. */
  holders: { holder?: Holder; leaseLeft: number; mode: Mode }[]
  /** Attempts since the resource was taken; 0 where nobody holds it. */
  numberOfLocks: number
  /** In the order of their turns. */
  waiters: (Omit<Holder, 'since' | 'token'> & { since: number; mode: Mode })[]
}

export interface Snapshot {
  /** `holder` is absent where it is unknown. */
  held: { name: string; mode: Mode; leaseLeft: number; holder?: Holder }[]
  pending: (Omit<Holder, 'since' | 'token'> & { name: string; mode: Mode; since: number })[]
}

export type Mode = 'exclusive' | 'shared'

export interface Holder {
  clientId: string
  host: string
  pid: number
  /** In milliseconds since 1970, by the clock of the store. Both are `null` while the store does not know. */
  since: number | null
  token: number | null
}

/** What the addon rejects with, and throws of `tls`. */
export interface Failure {
  /** The class of the error, where `code` does not tell. */
  name?: 'TypeError'
  code: string
  message: string
  cause?: { message: string; code: string }
  /** With the code `ERR_REPLICATION`, and with `ERR_RESOURCE_LOCKED` where several resources were asked for. */
  resourceId?: string
  /** These with the code `ERR_REPLICATION`. */
  wanted?: number
  confirmed?: number
  /** These with the code `ERR_RESOURCE_LOCKED`. */
  holder?: Holder
  numberOfLocks?: number
  leaseLeft?: number
  position?: number
}
