/** Progress on one line of a terminal, and lines that stay. */
export function makeLog(stream = process.stderr) {
  let shown = false
  const wipe = () => {
    if (shown) stream.write('\r\x1b[2K')
    shown = false
  }
  const log = (text) => {
    wipe()
    stream.write(`  ${text}\n`)
  }
  log.title = (text) => {
    wipe()
    stream.write(`${text}\n`)
  }
  log.progress = (text) => {
    if (!stream.isTTY) return
    wipe()
    stream.write(`  ${text}`)
    shown = true
  }
  log.wipe = wipe
  return log
}
