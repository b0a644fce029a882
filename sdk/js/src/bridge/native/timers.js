import { bridge } from '../../native.js';

export const call = bridge('timers');
