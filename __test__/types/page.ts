// What the declarations of the live page must accept, and what they must not.
import lockFactory from 'lock-inc'
import page, { type PageHandler, type PageRequest, type PageResponse } from 'lock-inc/page'

const locker = lockFactory({ driver: 'memory', settings: { prefix: 'lock:' } })
const plain: PageHandler = page(locker)
plain.close()

interface OfSession extends PageRequest {
  user: { isAdmin: boolean }
}
const handler = page(locker, {
  allowUnlock: async (request: OfSession) => request.user.isAdmin,
  basePath: '/locks',
  calls: false,
  title: 'staging',
})

export const answer = (request: OfSession, response: PageResponse): Promise<void> =>
  handler(request, response, () => {})

// @ts-expect-error: it needs a locker
page()
// @ts-expect-error: it is called basePath
page(locker, { basepath: '/locks' })
// @ts-expect-error: true, false or a function
page(locker, { allowUnlock: 'yes' })
