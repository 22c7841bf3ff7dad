"use strict";
(() => {
  const main = document.querySelector("main[data-address]");
  if (!main) return;
  const { address, version } = main.dataset;
  const again = () => location.replace(address);

  const left = document.getElementById("left");
  if (left) {
    const end = Date.now() + Number(left.dataset.seconds) * 1000;
    const two = (number) => String(number).padStart(2, "0");
    const tick = () => {
      const seconds = Math.ceil((end - Date.now()) / 1000);
      if (seconds <= 0) {
        clearInterval(ticking);
        again();
        return;
      }
      const hours = Math.floor(seconds / 3600);
      const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
      left.textContent = hours ? `${hours}:${rest}` : rest;
    };
    const ticking = setInterval(tick, 1000);
  }

  const bridge = document.getElementById("bridge");
  if (bridge) {
    const parameters = JSON.parse(bridge.dataset.parameters);
    const wechat = bridge.dataset.channel.startsWith("wechat");
    // What the wallet tells is a hint: the server asks the channel.
    const done = (told) => {
      const result = String((wechat ? told?.err_msg : told?.resultCode) ?? "");
      if (/:ok$|^9000$|^8000$|^6004$/.test(result)) location.replace(`${address}/return`);
      else if (/:fail|^4000$|^6002$/.test(result)) location.replace(`${address}?failed=failed`);
    };
    const pay = () => {
      const name = wechat ? "WeixinJSBridge" : "AlipayJSBridge";
      const call = () => {
        if (wechat) window[name].invoke("getBrandWCPayRequest", parameters, done);
        else window[name].call("tradePay", parameters, done);
      };
      if (window[name]) call();
      else document.addEventListener(`${name}Ready`, call, { once: true });
    };
    bridge.addEventListener("click", pay);
    // By itself once only: who turned back shall not be asked again and again.
    const key = `qiao:${version}`;
    let asked = false;
    try {
      asked = sessionStorage.getItem(key) !== null;
      sessionStorage.setItem(key, "1");
    } catch { /* no storage: ask */ }
    if (!asked) pay();
  }

  if (!("live" in main.dataset)) return;
  const look = (now) => { if (now && now !== version) again(); };
  let wait = 2000;
  const poll = async () => {
    try {
      const answer = await fetch(`${address}/state`, { cache: "no-store" });
      look((await answer.json()).version);
    } catch { /* the network comes back */ }
    wait = Math.min(wait * 1.3, 15000);
    setTimeout(poll, wait);
  };
  if (window.EventSource) {
    const events = new EventSource(`${address}/events`);
    let failures = 0;
    events.addEventListener("version", (event) => { failures = 0; look(event.data); });
    events.addEventListener("error", () => {
      failures += 1;
      if (failures > 3 || events.readyState === EventSource.CLOSED) { events.close(); poll(); }
    });
  } else poll();
})();
