// Those who take part in `semaphore` and `readers` only: each of these names is a file beside this one.
import * as oursReader from './ours-reader.mjs'
import * as oursSemaphore from './ours-semaphore.mjs'
import * as semaphore from './redis-semaphore-semaphore.mjs'
import * as redlockSemaphore from './redlock-semaphore.mjs'

export const OUR_SEMAPHORE = 'ours-semaphore'
export const OUR_READER = 'ours-reader'

export const semaphores = {
  [OUR_SEMAPHORE]: oursSemaphore.about,
  'redis-semaphore-semaphore': semaphore.about,
  'redlock-semaphore': redlockSemaphore.about,
}

export const modes = { ...semaphores, [OUR_READER]: oursReader.about }
