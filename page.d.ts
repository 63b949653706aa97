import type { Locker } from './index'

export = page

/**
 * Makes the live page of a locker's prefix: who holds what and who waits for it, for all clients. The page is served by the
 * handler that this returns. It shows names to whoever can reach it, so put it where only those come who may see them.
 *
 * While somebody looks, the store is asked once a second, however many they are; while nobody does, it is not asked.
 *
 * @throws TypeError when the locker or an option is wrong (`code`: `ERR_INVALID_ARG_TYPE` or `ERR_UNKNOWN_OPTION`).
 *
 * @example
 * app.use('/locks', mustBeOperator, page(locker, { allowUnlock: true }))
 */
declare function page<Request extends page.PageRequest = page.PageRequest>(
  locker: Locker,
  options?: page.PageOptions<Request>,
): page.PageHandler<Request>

declare namespace page {
  export { page, page as default }

  export interface PageOptions<Request extends PageRequest = PageRequest> {
    /**
     * Who may take a lock from its holder (`forceUnlock`) on the page: everybody who can reach it, nobody, or those for whose
     * requests a function returns `true`. Default: `false`.
     *
     * @example
     * const options = { allowUnlock: (request) => request.user?.role === 'admin' }
     */
    allowUnlock?: boolean | ((request: Request) => boolean | Promise<boolean>) | null | undefined
    /**
     * The path where the page is, where the handler is given whole paths: by node:http, Fastify and Next. Not needed where
     * `app.use` of Express says it. Default: `''`.
     */
    basePath?: string | null | undefined
    /**
     * Whether the page shows what the calls of this process come to: grants, refusals, losses, and how long the grants took.
     * They are those of all lockers of this thread, whatever their prefix. Default: `true`.
     */
    calls?: boolean | null | undefined
    /** What the page is called beside `lock-inc`, as `'staging'`. Default: none. */
    title?: string | null | undefined
  }

  /** The handler of a request. `next` is called for what is not below the page's path; without it, that is answered with 404. */
  export interface PageHandler<Request extends PageRequest = PageRequest> {
    (request: Request, response: PageResponse, next?: (error?: unknown) => void): Promise<void>
    /** Ends what is streamed to browsers, so that the server can end, and counts no more. */
    close(): void
  }

  /** The part of an `http.IncomingMessage` that is used. */
  export interface PageRequest {
    readonly method?: string | undefined
    readonly url?: string | undefined
    readonly headers: { readonly [name: string]: string | readonly string[] | undefined }
  }

  /** The part of an `http.ServerResponse` that is used. */
  export interface PageResponse {
    readonly destroyed: boolean
    readonly headersSent: boolean
    readonly writableNeedDrain: boolean
    writeHead(status: number, headers: Record<string, string>): unknown
    write(text: string): boolean
    end(text?: string): unknown
    destroy(error?: Error): unknown
    once(event: 'close', listener: () => void): unknown
  }
}
