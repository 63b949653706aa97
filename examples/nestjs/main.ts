import 'reflect-metadata'
import { setTimeout as sleep } from 'node:timers/promises'
import { Injectable, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { Locked, LockModule } from './locks'

// Each account has its balance settled by one process at a time.

@Injectable()
class Accounts {
  @Locked((account: string) => `account:${account}`, { expire: '30s', timeout: '10s' })
  async settle(account: string) {
    console.log(`${account} begins`)
    await sleep(20)
    console.log(`${account} ends`)
    return account
  }
}

@Module({ imports: [LockModule], providers: [Accounts] })
class App {}

async function main() {
  const app = await NestFactory.createApplicationContext(App, { logger: ['error', 'warn'] })
  app.enableShutdownHooks(['SIGTERM', 'SIGINT'])
  const accounts = app.get(Accounts)
  await Promise.all(['anna', 'ben', 'anna', 'ben', 'anna'].map((account) => accounts.settle(account)))
  await app.close()
}

main()
