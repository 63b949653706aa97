import fs from 'node:fs'

/**
 * CPU time of the JavaScript thread alone, in microseconds. It is the thread whose id is that of the process.
 * Linux tells it in nanoseconds; where it does not, the event loop's share of active time stands in.
 */
function threadTime() {
  try {
    const [running] = fs.readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')
    return Number(running) / 1000
  } catch {
    return undefined
  }
}

/** Starts to measure. The function that is returned ends it. */
export function measureCpu() {
  const thread = threadTime()
  const loop = performance.eventLoopUtilization()
  const start = performance.now()
  const cpu = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    const ms = performance.now() - start
    const { utilization } = performance.eventLoopUtilization(loop)
    const scheduled = thread === undefined ? undefined : threadTime() - thread
    return {
      ms,
      processUs: user + system,
      threadUs: scheduled ?? utilization * ms * 1000,
      threadFrom: scheduled === undefined ? 'eventLoopUtilization' : 'schedstat',
      loopUs: utilization * ms * 1000,
    }
  }
}
