import type { MeterProvider, TracerProvider } from '@opentelemetry/api'

export = instrument

/**
 * Makes OpenTelemetry spans and metrics of what the lockers of this thread do, those that exist already included.
 *
 * @returns A function that ends that.
 * @throws Error when `@opentelemetry/api` is not installed (`code`: `ERR_OTEL_NOT_INSTALLED`).
 *
 * @example
 * const stop = require('lock-inc/otel')()
 */
declare function instrument(options?: instrument.Options): () => void

declare namespace instrument {
  export { instrument as default }

  export interface Options {
    /** Default: the global one. */
    tracerProvider?: TracerProvider | undefined
    /** Default: the global one. */
    meterProvider?: MeterProvider | undefined
    /** Whether spans have the names of resources. Metrics never have them. Default: `true`. */
    resourceNames?: boolean | undefined
  }
}
