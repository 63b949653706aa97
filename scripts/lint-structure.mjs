// Checks what points where: crates, modules of lib/, and what crates and modules show to each other.
import { checkCrates } from './structure/crates.mjs'
import { checkModules } from './structure/modules.mjs'
import { checkPublic } from './structure/public.mjs'
import { readWorkspace } from './structure/workspace.mjs'

const workspace = readWorkspace()
const problems = [...checkCrates(workspace), ...checkModules(workspace.root), ...checkPublic(workspace)]
for (const problem of problems) console.error(problem)
console.log(`structure: ${workspace.packages.length} crates, ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
