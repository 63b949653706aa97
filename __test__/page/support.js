'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { chromium } = require('playwright-core')
const { until } = require('../support/until')

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Chromium for the tests of a file, and for each of them pages that are closed at its end. */
function browserScene() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-chromium-'))
  let browser
  let contexts = []

  beforeAll(async () => {
    browser = await chromium.launchPersistentContext(folder, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ARGS,
      viewport: { width: 1280, height: 800 },
    })
  })

  afterAll(async () => {
    await browser.close()
    fs.rmSync(folder, { recursive: true, force: true })
  })

  afterEach(async () => {
    const opened = contexts.splice(0)
    await Promise.all(opened.map(({ page }) => page.close()))
    // Whatever a test is about: nothing is refused by the policy, and nothing throws.
    expect(opened.flatMap(({ problems }) => problems)).toEqual([])
    contexts = []
  })

  /** Opens a page. What it complains of fails the test, but for what is `expected`, as of a server that is away. */
  return async function open(url, { colorScheme = 'light', expected } = {}) {
    const page = await browser.newPage()
    const problems = []
    const note = (text) => expected?.test(text) || problems.push(text)
    page.on('console', (message) => message.type() === 'error' && note(message.text()))
    page.on('pageerror', (error) => note(`${error}`))
    page.on('dialog', (dialog) => {
      note(`a dialog: ${dialog.message()}`)
      dialog.dismiss()
    })
    contexts.push({ page, problems })
    await page.emulateMedia({ colorScheme })
    await page.goto(url)
    return page
  }
}

/** The rows that are there, as they are read. */
function rowsOf(page, label = 'Locks') {
  return page
    .getByRole('grid', { name: label })
    .getByRole('row')
    .locator('.cell:first-child')
    .allTextContents()
    .then(([, ...names]) => names)
}

/** Waits until just these are listed, in any order. */
function lists(page, ...names) {
  const wanted = String(names.sort())
  return until(async () => String((await rowsOf(page)).sort()) === wanted, `the page lists ${wanted}`)
}

module.exports = { browserScene, lists, rowsOf }
