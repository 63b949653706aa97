'use strict'

// Worker threads that count together, in steps that they must not do at the same time. Each thread makes a locker of its
// own; in one process the memory driver is enough.
//
// node examples/workers.js

const { setImmediate: nextTurn } = require('node:timers/promises')
const { isMainThread, Worker, workerData } = require('node:worker_threads')
const lockFactory = require('lock-inc')

const THREADS = 4
const STEPS = 250

async function main() {
  const counter = new Int32Array(new SharedArrayBuffer(4))
  await Promise.all(Array.from({ length: THREADS }, () => run(counter)))
  console.log(`counted to ${counter[0]} of ${THREADS * STEPS}`)
}

function run(counter) {
  const worker = new Worker(__filename, { workerData: counter })
  return new Promise((resolve, reject) => worker.once('error', reject).once('exit', resolve))
}

async function count(counter) {
  const locker = lockFactory({ driver: 'memory', settings: { prefix: 'count:' } })
  for (let step = 0; step < STEPS; step++) {
    await locker.request('counter', async () => {
      const value = counter[0]
      await nextTurn()
      counter[0] = value + 1
    })
  }
  await locker.close()
}

if (isMainThread) main()
else count(workerData)
