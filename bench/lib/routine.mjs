/**
 * A lock of a library that holds it while a routine runs, as one that is given up by a call. `using`: runs the routine
 * under the lock, and hands it a signal that aborts when the lock is lost.
 */
export function heldByRoutine(using, onLost) {
  return new Promise((resolve, reject) => {
    const done = using((signal) => {
      signal.addEventListener('abort', onLost)
      return new Promise((end) => {
        resolve(() => {
          end()
          return done
        })
      })
    })
    done.catch(reject)
  })
}
