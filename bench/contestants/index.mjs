import * as bare from './bare-ioredis.mjs'
import * as beside from './beside.mjs'
import { modes } from './modes.mjs'
import * as ours from './ours.mjs'
import * as redisSemaphore from './redis-semaphore.mjs'
import * as redlock4 from './redlock-4.mjs'
import * as redlock5 from './redlock-5.mjs'
import * as redlockUniversal from './redlock-universal.mjs'
import * as simpleRedisMutex from './simple-redis-mutex.mjs'

export const OURS = 'ours'
export const BARE = 'bare-ioredis'
export const BESIDE = 'beside'

const isCompared = process.env.LOCK_INC_BESIDE !== undefined

/** The builds of lock-inc that are measured. */
export const builds = isCompared ? [OURS, BESIDE] : [OURS]

/** By the names of their files. */
export const contestants = {
  [OURS]: ours.about,
  ...(isCompared && { [BESIDE]: beside.about }),
  'redlock-5': redlock5.about,
  'redlock-4': redlock4.about,
  'redis-semaphore': redisSemaphore.about,
  'redlock-universal': redlockUniversal.about,
  'simple-redis-mutex': simpleRedisMutex.about,
  [BARE]: bare.about,
}

export const peers = Object.keys(contestants).filter(
  (name) => !builds.includes(name) && !contestants[name].floor,
)

/** Of those in `modes.mjs`, too. */
export const label = (name) => (contestants[name] ?? modes[name])?.label ?? name
