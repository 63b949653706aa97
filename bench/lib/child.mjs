import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { killAtExit } from './processes.mjs'

const worker = fileURLToPath(new URL('./worker.mjs', import.meta.url))

/** A process of its own for one contestant, which does the tasks it is told. */
export class Child {
  #process
  #waiting = new Map()
  #calls = 0
  #stderr = ''

  /** `where`: the port of a server, or the nodes of a cluster, or sentinels. */
  constructor(contestant, where) {
    this.contestant = contestant
    const options = {
      execArgv: ['--expose-gc'],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    }
    this.#process = killAtExit(fork(worker, [contestant, JSON.stringify(where)], options))
    this.#process.stderr.on('data', (data) => {
      this.#stderr = (this.#stderr + data).slice(-2000)
    })
    this.#process.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#waiting.get(id) ?? {}
      this.#waiting.delete(id)
      if (error === undefined) resolve?.(result)
      else reject?.(new Error(error))
    })
    this.#process.once('exit', (code, signal) => {
      const why = `the process ended with ${code ?? signal}: ${this.#stderr.trim().split('\n').at(-1)}`
      for (const { reject } of this.#waiting.values()) reject(new Error(why))
      this.#waiting.clear()
    })
  }

  /** One that has connected. */
  static async start(contestant, where) {
    const child = new Child(contestant, where)
    await child.call('ready')
    return child
  }

  get alive() {
    const { exitCode, signalCode, killed } = this.#process
    return exitCode === null && signalCode === null && !killed
  }

  /** Whoever does not answer in time is killed: a contestant that hangs must not hang the run. */
  async call(task, args = {}, { deadline = 30_000 } = {}) {
    const id = ++this.#calls
    let timer
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      timer = setTimeout(() => {
        this.#waiting.delete(id)
        this.kill()
        reject(new Error(`not done within ${deadline / 1000} s`))
      }, deadline)
    })
    this.#process.send({ id, task, args }, (error) => {
      if (error) this.#waiting.get(id)?.reject(error)
    })
    try {
      return await answer
    } finally {
      clearTimeout(timer)
    }
  }

  kill() {
    this.#process.kill('SIGKILL')
  }
}

/** Several processes of one contestant. */
export async function startChildren(contestant, where, count) {
  return Promise.all(Array.from({ length: count }, () => Child.start(contestant, where)))
}
