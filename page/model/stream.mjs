/** Without a word for so long, the server is taken for gone: it says something each second. */
const SILENCE = 6000
const RETRY = 1500

const EVENTS = ['hello', 'all', 'changes', 'late', 'trouble']

/**
 * The events of the server, over and over again: where the connection ends, `heard('away')`, and another one is tried. While
 * nobody sees the page, or it is paused, it is not asked for anything.
 */
export class Stream {
  #url
  #heard
  #source
  #timer
  #isPaused = false

  constructor(url, heard) {
    this.#url = url
    this.#heard = heard
    document.addEventListener('visibilitychange', () => this.#update())
    this.#update()
  }

  pause(isPaused) {
    this.#isPaused = isPaused
    this.#update()
  }

  #update() {
    const isWanted = !this.#isPaused && document.visibilityState === 'visible'
    if (!isWanted) this.#close()
    else if (this.#source === undefined) this.#open()
  }

  #open() {
    this.#close()
    this.#source = new EventSource(this.#url)
    for (const event of EVENTS) {
      this.#source.addEventListener(event, ({ data }) => {
        this.#await(SILENCE, () => this.#lose())
        this.#heard(event, JSON.parse(data))
      })
    }
    // It would try again itself, but not after every error.
    this.#source.onerror = () => this.#lose()
    this.#await(SILENCE, () => this.#lose())
  }

  #lose() {
    this.#source.close()
    this.#heard('away')
    this.#await(RETRY, () => this.#open())
  }

  #close() {
    clearTimeout(this.#timer)
    this.#source?.close()
    this.#source = undefined
  }

  #await(ms, then) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(then, ms)
  }
}
