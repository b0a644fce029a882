export interface Profile {
  /** The same at every launch, and another in every other app. */
  id: string;
  /** If the host tells. */
  displayName: string | undefined;
  /** A BCP 47 tag, if the host tells. */
  locale: string | undefined;
}

/** The user's profile. Permission `user.profile`. */
export function profile(): Profile;
