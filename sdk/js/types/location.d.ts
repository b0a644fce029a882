export interface Place {
  /** Degrees. */
  latitude: number;
  longitude: number;
  accuracyMetres: number;
}

/** Where the device is. Permission `device.location`. */
export function get(options?: { accuracy?: 'coarse' | 'fine' }): Place;
