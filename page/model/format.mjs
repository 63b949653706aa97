/** A time span as people say it: two units at the most. */
export function duration(ms) {
  if (ms === undefined || ms === null || Number.isNaN(ms)) return '–'
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3600) return two(seconds, 60, 'm', 1, 's')
  if (seconds < 86_400) return two(seconds, 3600, 'h', 60, 'm')
  return two(seconds, 86_400, 'd', 3600, 'h')
}

function two(seconds, great, greatUnit, small, smallUnit) {
  const rest = Math.floor((seconds % great) / small)
  return `${Math.floor(seconds / great)} ${greatUnit} ${String(rest).padStart(2, '0')} ${smallUnit}`
}

/** A bound of a class of waits. */
export function bound(ms) {
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`
}

const figures = new Intl.NumberFormat('en')

export function count(number) {
  return figures.format(number)
}

export function rate(number) {
  return number === 0 || number >= 100 ? count(Math.round(number)) : number.toFixed(number < 10 ? 2 : 1)
}

/** `one` or `others`, with the number. */
export function counted(number, one, others = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : others}`
}

/** The date as well, where it is not of the last half day. */
export function moment(time, now) {
  const date = new Date(time)
  const clock = date.toLocaleTimeString('en-GB')
  return now - time < 43_200_000 ? clock : `${date.toLocaleDateString('en-CA')} ${clock}`
}

/** Of whoever holds or waits. */
export function who({ clientId, host, pid }) {
  return clientId === null ? 'not told' : `${host} · ${pid}`
}

/** A name with signs for what could not be seen in it, or would turn the text around. */
export function visible(name) {
  return name.replace(/[\p{Cc}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, (sign) => {
    const code = sign.codePointAt(0)
    if (code < 0x20) return String.fromCodePoint(0x2400 + code)
    return `⟨${code.toString(16).padStart(4, '0')}⟩`
  })
}
