// Loading: what to show while asking, when it failed, and when to ask again.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { epoch, get, Unreachable } from "./api";
import { useStore } from "./store";

export interface Loaded<T> {
  data: T | null;
  error: Error | null;
  loading: boolean;
  reload(): void;
}

/** Asks for a path now, when it changes, when the gateway is back, and every `every` milliseconds while the page is seen. */
export function useLoad<T = any>(path: string | null, every = 0): Loaded<T> {
  const [state, set] = useState<{ path: string | null; data: T | null; error: Error | null }>({ path, data: null, error: null });
  const [asked, ask] = useState(0);
  const back = useStore(epoch);
  const latest = useRef(0);
  useEffect(() => {
    if (path === null) return;
    const mine = ++latest.current;
    let timer = 0;
    const load = async (): Promise<void> => {
      try {
        const data = await get<T>(path);
        if (mine === latest.current) set({ path, data, error: null });
      } catch (error) {
        // What was there stays to be read; that the gateway is gone is said elsewhere.
        if (mine === latest.current) set((old) => ({ path, data: old.path === path ? old.data : null, error: error as Error }));
      }
      if (every > 0 && mine === latest.current) timer = window.setTimeout(wait, every);
    };
    const wait = (): void => {
      if (document.hidden) timer = window.setTimeout(wait, every);
      else void load();
    };
    void load();
    return () => {
      latest.current++;
      clearTimeout(timer);
    };
  }, [path, asked, back, every]);
  const current = state.path === path;
  const error = current && !(state.error instanceof Unreachable && state.data) ? state.error : null;
  return {
    data: current ? state.data : null,
    error,
    loading: path !== null && (!current || (state.data === null && state.error === null)),
    reload: useCallback(() => ask((n) => n + 1), []),
  };
}

/** A value that follows another one once it has been still for a while. */
export function useSettled<T>(value: T, delay: number): T {
  const [settled, settle] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), delay);
    return () => clearTimeout(timer);
  }, [value, delay]);
  return settled;
}
