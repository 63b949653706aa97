'use strict'

const { spawn } = require('node:child_process')
const path = require('node:path')
const { killAtExit } = require('./support/kill-at-exit')
const { ask, watch } = require('./support/page')
const { redisScene } = require('./support/scene')
const { until } = require('./support/until')

const scene = redisScene()
const program = path.join(__dirname, '../bin/lock-inc.js')

/** `lock-inc serve` in a process of its own, and where its page is. */
function run(...args) {
  const url = `redis://127.0.0.1:${scene.server.port}`
  const child = killAtExit(
    spawn(process.execPath, [program, 'serve', '--url', url, '--prefix', scene.prefix, ...args]),
  )
  const ran = { child, stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) {
    child[name].on('data', (data) => {
      ran[name] += data
    })
  }
  ran.ended = new Promise((resolve) => child.once('close', resolve))
  ran.url = () => until(() => ran.stdout.match(/^http:\S+\/$/m)?.[0], 'it says where the page is')
  return ran
}

describe('lock-inc serve', () => {
  it('shows the locks under the prefix until it is ended, and no calls of its own', async () => {
    await scene.newLocker().lock('a')
    const ran = run('--port', '0')
    const url = await ran.url()
    expect((await ask(url)).text).toMatch(/^<!doctype html>/)
    const viewer = watch(`${url}events`)
    expect(await viewer.heard('hello')).toMatchObject({ title: scene.prefix, token: null, process: null })
    await viewer.lists('a')
    ran.child.kill('SIGTERM')
    expect(await ran.ended).toBe(0)
  })

  it('answers only to the names of this machine', async () => {
    const ran = run('--port', '0', '--allow-unlock')
    const url = await ran.url()
    const { port } = new URL(url)
    const statusFor = async (host, at = '') => (await ask(url + at, { headers: { Host: host } })).status
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, 'LOCALHOST', '[::1]:80']) {
      expect(await statusFor(host)).toBe(200)
    }
    for (const host of [
      `evil.example:${port}`,
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'xlocalhost',
    ]) {
      expect(await statusFor(host)).toBe(403)
      expect(await statusFor(host, 'events')).toBe(403)
    }
    ran.child.kill('SIGINT')
    expect(await ran.ended).toBe(0)
  })

  it('lets locks be forced with --allow-unlock', async () => {
    const lock = await scene.newLocker().lock('a', { renew: true })
    const url = await run('--port', '0', '--allow-unlock').url()
    const viewer = watch(`${url}events`)
    const { token } = await viewer.heard('hello')
    await viewer.lists('a')
    viewer.close()
    const headers = { 'X-Lock-Inc-Token': token, 'Sec-Fetch-Site': 'same-origin' }
    const forced = await ask(`${url}unlock?name=a&holders=${lock.token}`, { method: 'POST', headers })
    expect(forced).toMatchObject({ status: 200, json: { unlocked: true } })
  })

  it('says so where the port is taken or is none', async () => {
    const { port } = new URL(await run('--port', '0').url())
    const second = run('--port', port)
    expect(await second.ended).toBe(64)
    expect(second.stderr).toContain(`the port ${port} is taken`)
    const third = run('--port', '70000')
    expect(await third.ended).toBe(64)
    expect(third.stderr).toContain('--port must be a number from 0 to 65535')
  })
})
