import { render } from 'preact'
import { urlOf } from './model/api.mjs'
import { App } from './views/app.jsx'

document.head.append(Object.assign(document.createElement('link'), { rel: 'icon', href: urlOf('icon.svg') }))
render(<App />, document.body)
