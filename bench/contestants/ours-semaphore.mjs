import { openWith } from './ours.mjs'

/** So many hold it at once. */
export const LIMIT = 4

export const about = {
  label: 'lock-inc, semaphore of 4',
  package: 'lock-inc',
  client: 'its own',
  settings: { mode: 'shared', limit: LIMIT, lockWaiting: 'timeout: Infinity', lease: '60 s (default)' },
}

export const open = (port) => openWith({ mode: 'shared', limit: LIMIT }, port)
