// What a page is to its reader, as an object.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (c) => {
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  };
  // WCAG 2.2, contrast ratio.
  const contrast = (a, b) => {
    const [x, y] = [light(channels(a)), light(channels(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return getComputedStyle(e).backgroundColor;
    }
    return getComputedStyle(document.documentElement).backgroundColor;
  };
  const visible = (e) => e.getClientRects().length > 0 && !e.closest('.unseen');
  const faint = [];
  for (const e of all('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== '');
    if (!own || !visible(e) || ['title', 'desc'].includes(e.tagName)) continue;
    const style = getComputedStyle(e);
    const svg = e.namespaceURI.endsWith('svg');
    // The bar or buffer that a text is in comes before it.
    const mark = e.classList.contains('inside') && e.previousElementSibling;
    const ground = mark ? getComputedStyle(mark).fill : behind(e);
    const ratio = contrast(svg ? style.fill : style.color, ground);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) faint.push(`${e.tagName}.${e.className.baseVal ?? e.className} ${e.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  for (const e of all('.mark')) {
    const ratio = contrast(getComputedStyle(e).fill, behind(e));
    if (ratio < 3) faint.push(`mark ${e.className.baseVal}: ${ratio.toFixed(2)}`);
  }
  const overlapping = [], outside = [];
  for (const plot of all('.plot')) {
    const box = plot.getBoundingClientRect();
    const texts = [...plot.querySelectorAll('text:not([transform])')].map((e) => [e.textContent, e.getBoundingClientRect()]);
    texts.forEach(([a, p], i) => {
      if (p.left < box.left - 1 || p.right > box.right + 1 || p.top < box.top - 1 || p.bottom > box.bottom + 1) outside.push(a);
      texts.slice(i + 1).forEach(([b, q]) => {
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        if (wide > 1 && high > 3) overlapping.push(`${a} / ${b}`);
      });
    });
  }
  const levels = all('h1, h2, h3').map((h) => Number(h.tagName[1]));
  return {
    width: document.documentElement.scrollWidth,
    window: innerWidth,
    headings: all('h2').map((h) => h.textContent),
    skipped: levels.filter((level, i) => i > 0 && level > levels[i - 1] + 1).length,
    tables: all('table').length,
    bare: all('table').filter((t) => !t.caption || !t.querySelector('th[scope=col]')).length,
    plots: all('svg.plot').map((s) => s.id || s.querySelector('title').id),
    unnamed: all('svg.plot').filter((s) => {
      const ids = (s.getAttribute('aria-labelledby') || '').split(' ');
      return s.getAttribute('role') !== 'img' || ids.length !== 2 || ids.some((id) => !document.getElementById(id)?.textContent);
    }).length,
    twice: all('[id]').map((e) => e.id).filter((id, i, ids) => ids.indexOf(id) !== i),
    dead: all('a[href^="#"]').filter((a) => !document.querySelector(a.getAttribute('href'))).length,
    scripts: document.scripts.length + document.images.length + all('iframe, object, embed, link').length,
    marks: all('.plot .mark').length,
    stray: all('text, rect, circle, path, line').filter((e) => !e.namespaceURI.endsWith('svg')).length,
    odd: all('.plot *').filter((e) => [...e.attributes].some((a) => /NaN|undefined|Infinity/.test(a.value))).length,
    faint: [...new Set(faint)],
    overlapping,
    outside,
  };
})()
