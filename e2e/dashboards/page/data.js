// The answers of Prometheus and Jaeger as data frames, as Grafana's data sources make them.
import { createDataFrame, FieldType } from '@grafana/data';

// view says what the dashboard shows: the time range in seconds, and the values of its variables.
export const view = Object.fromEntries(new URLSearchParams(location.search));
const from = Number(view.from), to = Number(view.to);

// fill puts the values of the variables into a text.
export const fill = (text) => text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, a, b) => view[a ?? b] ?? all);

// framesOf asks for the data of every target of a panel.
export async function framesOf(panel) {
  const frames = await Promise.all((panel.targets ?? []).map((t) => source(t)(t, panel)));
  return frames.flat();
}

function source(target) {
  const ask = { prometheus, jaeger }[target.datasource.type];
  if (!ask || (ask === jaeger && target.queryType !== 'search')) throw new Error(`cannot ask ${JSON.stringify(target)}`);
  return ask;
}

async function prometheus(target, panel) {
  const query = { query: fill(target.expr) };
  const answer = target.range
    ? await get('prometheus/api/v1/query_range', { ...query, start: from, end: to, step: view.step })
    : await get('prometheus/api/v1/query', { ...query, time: to });
  const series = answer.data.result;
  return target.format === 'table' ? table(target, panel, series) : series.map((s) => timeSeries(target, s));
}

function timeSeries(target, { metric, values, value }) {
  const points = (values ?? [value]).filter(Boolean);
  const name = target.legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '');
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: points.map(([t]) => t * 1000) },
      { name: 'Value', type: FieldType.number, values: points.map(([, v]) => finite(v)), labels: metric, config: { displayNameFromDS: name } },
    ],
  });
}

function table(target, panel, series) {
  const labels = [...new Set(series.flatMap((s) => Object.keys(s.metric)))].sort();
  const value = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((s) => s.value[0] * 1000) },
      ...labels.map((l) => ({ name: l, type: FieldType.string, values: series.map((s) => s.metric[l] ?? '') })),
      { name: value, type: FieldType.number, values: series.map((s) => finite(s.value[1])) },
    ],
  });
}

// finite returns null for what no graph can show: a quantile of no requests is not a number.
const finite = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);

async function jaeger(target) {
  const [key, value] = fill(target.tags).split('=');
  const traces = (await get('jaeger/api/traces', { service: fill(target.service), tags: JSON.stringify({ [key]: value }), limit: target.limit })).data;
  const first = traces.map((t) => t.spans.reduce((a, b) => (a.startTime <= b.startTime ? a : b)));
  return createDataFrame({
    fields: [
      { name: 'Trace ID', type: FieldType.string, values: traces.map((t) => t.traceID) },
      { name: 'Trace name', type: FieldType.string, values: first.map((s, i) => `${traces[i].processes[s.processID].serviceName}: ${s.operationName}`) },
      { name: 'Start time', type: FieldType.time, values: first.map((s) => s.startTime / 1000) },
      { name: 'Duration', type: FieldType.number, values: first.map((s) => s.duration), config: { unit: 'µs' } },
    ],
  });
}

async function get(path, query) {
  const response = await fetch(`${path}?${new URLSearchParams(query)}`);
  const body = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${body}`);
  return JSON.parse(body);
}
