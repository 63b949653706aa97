// Checks what points where: crates, modules of lib/, and what crates and modules show to each other.
import { checkCrates } from './structure/crates.mjs'
import { checkModules } from './structure/modules.mjs'
import { checkPublic } from './structure/public.mjs'
import { readWorkspace } from './structure/workspace.mjs'

const workspace = readWorkspace()
let problems = 0

try {
  for (const check of [checkCrates, checkModules, checkPublic]) {
    for (const problem of check(workspace)) {
      problems++
      console.error(problem)
    }
  }
} catch (error) {
  // Of cargo, for one, which has said more above.
  console.error(`structure: ${error.message}`)
  problems++
}
console.log(`structure: ${workspace.packages.length} crates, ${problems} problems`)
process.exitCode = problems === 0 ? 0 : 1
