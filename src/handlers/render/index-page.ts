/** The page that shows the stream and, once a second, what boxes.json says. Addresses are relative: it works wherever it is mounted. */
export const INDEX_HTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>render</title>
<style>
  body { margin: 0; background: #14171a; color: #e8eaed; font: 15px/1.5 system-ui, sans-serif; }
  main { max-width: 1200px; margin: auto; padding: 16px; }
  img { width: 100%; background: #000; min-height: 200px; }
  table { border-collapse: collapse; } td, th { padding: 2px 14px 2px 0; text-align: left; }
  #state { font-variant-numeric: tabular-nums; }
</style>
<main>
  <p id="state" role="status">waiting for the first frame</p>
  <img src="stream.mjpeg" alt="newest annotated frame">
  <table><thead><tr><th>label</th><th>prob</th><th>attributes</th><th>note</th></tr></thead><tbody id="boxes"></tbody></table>
</main>
<script>
  const state = document.getElementById('state');
  const rows = document.getElementById('boxes');
  async function refresh() {
    try {
      const record = await (await fetch('boxes.json')).json();
      if (record.sequence === undefined) return;
      const latency = record.latency_ms === undefined ? '' : ', ' + record.latency_ms.toFixed(0) + ' ms end to end';
      const input = record.input ? ', ' + record.input : '';
      state.textContent = record.fps.toFixed(1) + ' fps, sequence ' + record.sequence + latency + input;
      rows.replaceChildren(...(record.boxes || []).map((box) => {
        const row = document.createElement('tr');
        const facts = Object.entries(box.attributes || {}).map(([name, value]) => name + ' ' + value).join(', ');
        for (const text of [box.label, box.prob.toFixed(2), facts, box.note || '']) row.insertCell().textContent = text;
        return row;
      }));
    } catch { state.textContent = 'no answer; trying again'; }
  }
  setInterval(refresh, 1000);
  refresh();
</script>
</html>
`;
