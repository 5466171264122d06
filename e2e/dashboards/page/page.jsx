// Draws the dashboard that `pace dashboards` wrote, with Grafana's own components. window.seen then says what
// each panel shows.
import {
  applyFieldOverrides, cacheFieldDisplayNames, dateTime, FieldType, formattedValueToString, getFieldDisplayName, getFieldDisplayValues, ThemeContext,
  transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { Component } from 'react';
import 'uplot/dist/uPlot.min.css';
import { createRoot } from 'react-dom/client';

import { fill, framesOf, view } from './data.js';
import { fieldConfigOf, registerAll, registryOf, theme } from './grafana.js';

const draw = { timeseries, stat, table };
const timeZone = 'utc';
const timeRange = { from: dateTime(view.from * 1000), to: dateTime(view.to * 1000) };
timeRange.raw = timeRange;

function timeseries(panel, frames, width, height) {
  return <TimeSeries {...{ frames, timeRange, timeZone, width, height, legend: panel.options.legend, options: panel.options }} />;
}

function stat(panel, frames, width, height) {
  const { reduceOptions, textMode, colorMode, graphMode, justifyMode, orientation } = panel.options;
  const values = () => getFieldDisplayValues({
    data: frames, fieldConfig: fieldConfigOf(panel), reduceOptions, replaceVariables: fill, theme, timeZone,
  });
  const value = ({ value, ...size }) => <BigValue {...size} {...{ theme, textMode, colorMode, graphMode, justifyMode }} value={value.display} />;
  return <VizRepeater {...{ width, height, orientation, source: frames, itemSpacing: 3, autoGrid: true, renderCounter: 0 }} getValues={values} renderValue={value} />;
}

function table(panel, [data], width, height) {
  const grid = <TableNG {...{ data, width, height, sortBy: panel.options?.sortBy, timeRange }} fieldConfig={fieldConfigOf(panel)} />;
  return <div style={{ width, height }}>{grid}</div>;
}

// load returns the panel's frames as it shows them.
async function load(panel) {
  if (!draw[panel.type]) throw new Error(`nothing here draws a panel of type ${panel.type}`);
  const raw = await framesOf(panel);
  const frames = await new Promise((next, error) => {
    transformDataFrame(panel.transformations ?? [], raw, { interpolate: fill }).subscribe({ next, error });
  });
  const shown = applyFieldOverrides({
    data: frames, fieldConfig: fieldConfigOf(panel), fieldConfigRegistry: registryOf(panel.type), replaceVariables: fill, theme, timeZone,
  });
  cacheFieldDisplayNames(shown);
  return shown;
}

// seriesOf returns the name and the last value of each series of a panel, as one reads them; of a table, each
// column with the value in its first row.
function seriesOf(panel) {
  const series = [];
  for (const frame of panel.frames ?? []) {
    for (const field of frame.fields) {
      const value = field.values[panel.type === 'table' ? 0 : field.values.length - 1];
      if (value === undefined || (panel.type !== 'table' && field.type !== FieldType.number)) continue;
      series.push({ name: getFieldDisplayName(field, frame, panel.frames), value: formattedValueToString(field.display(value)) });
    }
  }
  return series;
}

// Caught shows what went wrong while its child was drawn.
class Caught extends Component {
  state = {};
  static getDerivedStateFromError = (error) => ({ error });
  componentDidCatch = (error) => { this.props.panel.error = String(error); };
  render = () => this.state.error ? <pre>{String(this.state.error)}</pre> : this.props.children;
}

const cell = 30, margin = 8, column = (Number(view.width) - margin) / 24;

function Place({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const style = { position: 'absolute', left: margin + x * column, top: y * (cell + margin) };
  const width = w * column - margin, height = h * (cell + margin) - margin;
  if (panel.type === 'row') return <h3 style={{ ...style, margin: 0, lineHeight: '36px', fontSize: 16 }}>⌄ {panel.title}</h3>;
  return (
    <div style={style} id={`panel-${panel.id}`}>
      <PanelChrome title={fill(panel.title)} padding={panel.type === 'stat' ? 'none' : 'md'} description={panel.description} {...{ width, height }} statusMessage={panel.error}>
        {(w, h) => <Caught panel={panel}>{panel.frames?.length ? draw[panel.type](panel, panel.frames, w, h) : <Empty />}</Caught>}
      </PanelChrome>
    </div>
  );
}

const Empty = () => <div style={{ textAlign: 'center', paddingTop: 40, color: theme.colors.text.secondary }}>No data</div>;

async function main() {
  registerAll();
  const dashboard = await (await fetch('dashboard.json')).json();
  if (Number(view.rows)) {
    const next = dashboard.panels.filter((p) => p.type === 'row')[view.rows];
    dashboard.panels = dashboard.panels.filter((p) => p.gridPos.y < next.gridPos.y);
  }
  const panels = dashboard.panels.filter((p) => p.type !== 'row');
  await Promise.all(panels.map((panel) => load(panel).then((f) => { panel.frames = f; }, (error) => { panel.error = String(error); })));
  const bottom = Math.max(...dashboard.panels.map((p) => p.gridPos.y + p.gridPos.h)) * (cell + margin);
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', height: bottom }}>{dashboard.panels.map((p) => <Place key={p.id} panel={p} />)}</div>
    </ThemeContext.Provider>,
  );
  for (let waiting = panels, before; waiting.length > 0; before = waiting, waiting = waiting.filter((p) => !drawn(p))) {
    if (waiting.length !== before?.length) console.info('waits for', ...waiting.map((p) => p.title));
    await frame();
  }
  await document.fonts.ready;
  while (document.querySelector('svg:empty')) await frame(); // an icon that is not there yet
  window.seen = {
    failed: '',
    panels: panels.map((p) => ({ title: fill(p.title), error: p.error ?? '', series: seriesOf(p), text: elementOf(p).innerText })),
  };
}

const frame = () => new Promise((next) => requestAnimationFrame(next));

const elementOf = (panel) => document.getElementById(`panel-${panel.id}`);

// drawn reports whether a panel stands there whole. Of a graph, only the series have colours: its grid is grey.
function drawn(panel) {
  const element = elementOf(panel);
  if (!element) return false;
  if (panel.error || seriesOf(panel).length === 0) return true;
  if (panel.type === 'table') return element.querySelectorAll('[role=gridcell]').length > 0;
  if (panel.type === 'stat') return element.innerText.includes(seriesOf(panel)[0].value);
  const canvas = element.querySelector('canvas');
  if (!canvas?.width) return false;
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = data.subarray(i, i + 3);
    if (Math.max(r, g, b) - Math.min(r, g, b) > 60) return true;
  }
  return false;
}

await main().catch((error) => { window.seen = { failed: String(error.stack ?? error), panels: [] }; });
