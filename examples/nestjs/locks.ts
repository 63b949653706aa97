import { Global, Inject, Module, type OnApplicationShutdown } from '@nestjs/common'
import lockFactory, { type Locker, type RequestOptions } from 'lock-inc'

export const LOCKER = Symbol('lock-inc')

/** Runs a method under a lock. Its name may depend on the arguments. */
export function Locked<Args extends unknown[]>(
  name: string | ((...args: Args) => string),
  options: RequestOptions = {},
) {
  type Method<Result> = (...args: Args) => Promise<Result>
  return <Result>(target: object, _key: string, descriptor: TypedPropertyDescriptor<Method<Result>>) => {
    Inject(LOCKER)(target, 'locker')
    const method = descriptor.value as Method<Result>
    descriptor.value = function (this: { locker: Locker }, ...args: Args) {
      const resource = typeof name === 'string' ? name : name(...args)
      return this.locker.request(resource, options, () => method.apply(this, args))
    }
  }
}

const locker = {
  provide: LOCKER,
  useFactory: () =>
    lockFactory({
      driver: 'redis',
      config: { url: process.env.REDIS_URL },
      settings: { prefix: 'example:' },
    }),
}

/** One locker for the application, which closes it when it shuts down. */
@Global()
@Module({ providers: [locker], exports: [locker] })
export class LockModule implements OnApplicationShutdown {
  @Inject(LOCKER) private readonly locker!: Locker

  onApplicationShutdown() {
    return this.locker.close()
  }
}
