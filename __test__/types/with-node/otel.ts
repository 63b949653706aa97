import { metrics, trace } from '@opentelemetry/api'
import instrument from 'lock-inc/otel'

const stop: () => void = instrument({
  tracerProvider: trace.getTracerProvider(),
  meterProvider: metrics.getMeterProvider(),
  resourceNames: false,
})
stop()
instrument()()

// @ts-expect-error: there is no such option
instrument({ tracer: trace.getTracer('x') })
