'use strict'

const os = require('node:os')
const { stripVTControlCharacters } = require('node:util')
const { lockInc, lockIncAtTerminal } = require('./support/command-line')
const { commandScene } = require('./support/command-scene')
const { introduced } = require('./support/scene')
const { until } = require('./support/until')

describe('lock-inc', () => {
  const scene = commandScene()
  const { ask, environment, held } = scene
  const forever = { timeout: Number.POSITIVE_INFINITY }

  describe('ls', () => {
    it('lists who holds, and how many wait', async () => {
      const { lock, locker } = await held('User:1602', { expire: 30 })
      await held('b', { mode: 'shared', expire: 30 })
      const call = locker.lock('User:1602', forever)
      await scene.waiting('User:1602', 1)
      await until(async () => JSON.parse((await ask(['ls', '--json'])).stdout).pending.length === 1)
      const { code, stdout, stderr } = await ask(['ls'])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      const [titles, first, second, ...others] = stdout.split('\n').map((line) => line.split(/ {2,}/))
      expect(titles.join()).toBe('NAME,MODE,HOST,PID,HELD,LEASE,WAITING')
      const span = expect.stringMatching(/^\d+(\.\d)?s$/)
      expect(first).toEqual(['User:1602', 'exclusive', os.hostname(), `${process.pid}`, span, span, '1'])
      expect(second).toEqual(['b', 'shared', os.hostname(), `${process.pid}`, span, span, '-'])
      expect(others).toEqual([['']])
      await lock.unlock()
      await (await call).unlock()
    })

    it('takes a pattern for names, and sorts', async () => {
      await held('User:1', { expire: 20 })
      await held('User:2', { expire: 10 })
      await held('report', { expire: 15 })
      const names = async (...args) => {
        const lines = (await ask(['ls', ...args])).stdout.trim().split('\n').slice(1)
        return lines.map((line) => line.split(' ')[0])
      }
      expect(await names('User:*')).toEqual(['User:1', 'User:2'])
      expect(await names('[^r]*:[2-9]')).toEqual(['User:2'])
      expect(await names('\\User:?', '--sort', 'name')).toEqual(['User:1', 'User:2'])
      expect(await names('User')).toEqual([])
      expect(await names('*', '--sort', 'lease')).toEqual(['User:2', 'report', 'User:1'])
    })

    it('writes nothing of a name that could move the cursor of a terminal', async () => {
      await held('evil \x1b[2J\u009b\u202e\n name')
      const { stdout } = await ask(['ls'])
      expect(stdout).toContain('evil \\u{1b}[2J\\u{9b}\\u{202e}\\u{a} name  exclusive')
      const json = (await ask(['ls', '--json'])).stdout
      expect(json).toContain('"evil \\u001b[2J\\u009b\\u202e\\n name"')
    })

    it('writes nothing into a pipe where nothing is held', async () => {
      expect(await ask(['ls'])).toMatchObject({ code: 0, stdout: '', stderr: '' })
      const empty = { held: [], pending: [] }
      expect(JSON.parse((await ask(['ls', '--json'])).stdout)).toEqual(empty)
    })

    it('ends as others do when nobody reads its output any more', async () => {
      await held('a')
      const running = lockInc(['ls'], { env: environment() })
      running.child.stdout.destroy()
      expect(await running.ended).toMatchObject({ code: 141, stderr: '' })
    })

    it('cuts names to the width of a terminal, and has colours there, unless NO_COLOR says no', async () => {
      await held('x'.repeat(100))
      await held('日本語の名前')
      const env = environment()
      const coloured = await (await lockIncAtTerminal(['ls'], { env, columns: 70 })).ended
      expect(coloured).toMatchObject({ code: 0, isAsBefore: true })
      expect(coloured.text).toContain('\x1b[1mxxx')
      const lines = stripVTControlCharacters(coloured.text).trimEnd().split('\r\n')
      expect(lines.map((line) => line.replaceAll(/[日本語の名前]/g, 'ww').length)).toEqual([70, 70, 70])
      expect(lines[1]).toMatch(/^x+… {2}exclusive/)
      const plain = await (await lockIncAtTerminal(['ls'], { env: { ...env, NO_COLOR: '1' }, columns: 70 }))
        .ended
      expect(plain.text).not.toContain('\x1b[1m')
      expect((await ask(['ls'])).stdout).toContain(`${'x'.repeat(100)}  exclusive`)
    })
  })

  describe('show', () => {
    it('shows the holders, the queue in order, and what comes next for each', async () => {
      const { lock, locker } = await held('a')
      const wait = (options) => locker.lock('a', { ...forever, ...options })
      const calls = [wait({ mode: 'shared' })]
      await scene.waiting('a', 1)
      calls.push(wait({ mode: 'shared' }))
      await scene.waiting('a', 2)
      calls.push(wait({}))
      await scene.waiting('a', 3)
      const { code, stdout } = await ask(['show', 'a'])
      expect(code).toBe(0)
      const [heading, , titles, holder, , , ...waiters] = stdout.trim().split('\n')
      expect(heading).toBe('a: 1 holder, 3 waiting, 4 attempts since it was taken')
      expect(titles).toMatch(/^HOLDER +PID +CLIENT +MODE +HELD +TOKEN +NEXT$/)
      expect(holder).toMatch(`  ${lock.token}  unlocks, renews, or ends in `)
      expect(waiters.map((line) => line.replace(/ {2,}/g, '  ').split('  ').at(-1))).toEqual([
        'next, at the unlock or the end of the lease',
        'with number 1, if its limit allows',
        'after number 2',
      ])
      await lock.unlock()
      for (const call of calls) await (await call).unlock()
    })

    it('tells the same as JSON', async () => {
      const { lock } = await held('a', { mode: 'shared' })
      const { holders, waiters, count, name } = JSON.parse((await ask(['show', 'a', '--json'])).stdout)
      expect({ name, waiters, count }).toEqual({ name: 'a', waiters: [], count: 1 })
      expect(holders).toMatchObject([{ token: lock.token, mode: 'shared', pid: process.pid }])
    })

    it('says that of a lock of 1.2.0 nothing but the lease is known', async () => {
      await scene.server.call('SET', scene.key('old'), '1', 'EX', '50')
      const { code, stdout } = await ask(['show', 'old'])
      expect(code).toBe(0)
      expect(stdout).toMatch(
        /\nlock-inc 1\.2\.0 +\? +\? +exclusive +\? +\? +unlocks, renews, or ends in (50|4\d)s\n/,
      )
    })

    it('ends with 1 where nobody holds it', async () => {
      const { code, stdout } = await ask(['show', 'a'])
      expect(code).toBe(1)
      expect(stdout).toBe(`a: nobody holds it, and nobody waits for it, under the prefix "${scene.prefix}"\n`)
      const asJson = await ask(['show', 'a', '--json'])
      expect(asJson.code).toBe(1)
      expect(JSON.parse(asJson.stdout)).toEqual({ name: 'a', holders: [], waiters: [], count: 0 })
    })
  })

  describe('unlock', () => {
    const unlockAtTerminal = () => lockIncAtTerminal(['unlock', 'a'], { env: environment() })

    it('refuses to go on without a question, unless --yes says so', async () => {
      const { lock } = await held('a')
      const { code, stderr } = await ask(['unlock', 'a'], { input: 'y\n' })
      expect(code).toBe(64)
      expect(stderr).toContain('unlock asks first, and there is no terminal to ask at: give --yes')
      expect(lock.held).toBe(true)
      const forced = await ask(['unlock', 'a', '--yes'])
      expect(forced.code).toBe(0)
      expect(forced.stdout).toMatch(`"a" is taken from ${os.hostname()}, process ${process.pid}`)
      await until(() => !lock.held, 'the holder is told')
    })

    it('ends with 1 where nobody holds it', async () => {
      const { code, stderr } = await ask(['unlock', 'a', '-y'])
      expect(code).toBe(1)
      expect(stderr).toBe(`lock-inc: nobody holds "a" under the prefix "${scene.prefix}"\n`)
    })

    it('names the holder in its question, and unlocks on y', async () => {
      const { lock } = await held('a')
      const terminal = await unlockAtTerminal()
      await terminal.sees(`Take "a" from ${os.hostname()}, process ${process.pid}, which has held it for `)
      terminal.press('y\r')
      expect(await terminal.ended).toMatchObject({ code: 0, isAsBefore: true })
      await until(() => !lock.held, 'the holder is told')
    })

    it.each([
      ['n', 'n\r', 1],
      ['Enter', '\r', 1],
      ['something else', 'what?\r', 1],
      ['Ctrl+D', '\x04', 1],
      ['Ctrl+C', '\x03', 130],
    ])('does nothing on %s', async (_, keys, expected) => {
      const { lock } = await held('a')
      const terminal = await unlockAtTerminal()
      await terminal.sees('[y/N]')
      terminal.press(keys)
      const { code, isAsBefore } = await terminal.ended
      expect({ code, isAsBefore }).toEqual({ code: expected, isAsBefore: true })
      expect(await scene.newLocker().isLocked('a')).toBe(true)
      expect(lock.held).toBe(true)
    })

    it('does nothing where the holder is another one when it is answered', async () => {
      const { lock } = await held('a')
      const terminal = await unlockAtTerminal()
      await terminal.sees('[y/N]')
      await lock.unlock()
      const locker = scene.newLocker()
      const next = await locker.lock('a')
      await introduced(locker, 'a')
      terminal.press('y\r')
      const { code, text } = await terminal.ended
      expect(code).toBe(1)
      expect(text).toContain('nothing was done: meanwhile that is not who holds it')
      expect(next.held).toBe(true)
    })
  })
})
