import { openWith } from './ours.mjs'

export const about = {
  label: 'lock-inc, shared',
  package: 'lock-inc',
  client: 'its own',
  settings: { mode: 'shared', lease: '60 s (default)' },
}

export const open = (port) => openWith({ mode: 'shared' }, port)
