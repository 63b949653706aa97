import { openBuild, about as ours } from './ours.mjs'

/** Another build of lock-inc, in the folder that `--beside` names: to see what a change has done, in one run. */
export const about = { ...ours, label: 'the build beside' }

export const open = (where) => openBuild(process.env.LOCK_INC_BESIDE, where)
