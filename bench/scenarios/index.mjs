import * as blocked from './blocked.mjs'
import * as cluster from './cluster.mjs'
import * as concurrent from './concurrent.mjs'
import * as failover from './failover.mjs'
import * as growthNames from './growth-names.mjs'
import * as growthWaiters from './growth-waiters.mjs'
import * as handover from './handover.mjs'
import * as hot from './hot.mjs'
import * as load from './load.mjs'
import * as manyLockers from './many-lockers.mjs'
import * as manyRenewed from './many-renewed.mjs'
import * as manyWaiters from './many-waiters.mjs'
import * as paused from './paused.mjs'
import * as readers from './readers.mjs'
import * as scripts from './scripts.mjs'
import * as semaphore from './semaphore.mjs'
import * as sequential from './sequential.mjs'
import * as server from './server.mjs'

/** In the order in which they are run. */
export const scenarios = [
  sequential,
  concurrent,
  paused,
  hot,
  semaphore,
  readers,
  handover,
  blocked,
  manyRenewed,
  manyLockers,
  manyWaiters,
  growthNames,
  growthWaiters,
  cluster,
  failover,
  scripts,
  server,
  load,
]

/** Those with this name, or whose name begins with it: `many` is all of `many-...`. */
export function find(name) {
  return scenarios.filter((scenario) => scenario.name === name || scenario.name.startsWith(`${name}-`))
}
