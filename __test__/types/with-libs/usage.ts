// Where the compiler knows AbortSignal and Symbol.asyncDispose, whether from its own libs or from @types/node.
import lockFactory, { type Lock } from 'lock-inc'

const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })

export async function work(): Promise<string> {
  await using lock = await locker.lock('User:1602', { timeout: 5000, signal: AbortSignal.timeout(1000) })
  const signal: AbortSignal = lock.signal
  signal.throwIfAborted()
  const response = await fetch('http://localhost/', { signal: lock.signal })
  return response.text()
}

export async function tryIt(): Promise<boolean | undefined> {
  // null is disposed of, too.
  await using lock = await locker.tryLock('User:1602')
  return lock?.held
}

export const dispose = (lock: Lock): Promise<void> => lock[Symbol.asyncDispose]()

export const download = (): Promise<Response> =>
  locker.request('download', { signal: new AbortController().signal }, ({ signal }) =>
    fetch('http://localhost/', { signal }),
  )

// @ts-expect-error: it has to be waited for
export const disposeNow = (lock: Lock) => lock[Symbol.dispose]()
