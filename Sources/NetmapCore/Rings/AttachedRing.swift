/// A ring as the process that syncs it sees it: this process's addresses of everything a sync needs.
///
/// Plain data, built once from mappings and descriptors (by ``AttachedPort``), the same way in an
/// embedded engine and in a client of a daemon. It owns nothing; the ``AttachedPort`` does.
@unsafe @usableFromInline
package struct AttachedRing {
  @usableFromInline package let ring: Ring
  @usableFromInline package let kring: KRing
  package let direction: Direction
  package let kind: RingKind

  /// The other end of a pipe; this ring itself where there is no other end.
  package let peerRing: Ring
  package let peerKRing: KRing

  /// In whose name the ring's lock is taken.
  package let tag: ClientTag

  /// Where to announce that somebody sleeps until this ring makes progress.
  package let waitWord: WaitWord

  /// Whom to wake, by doorbell number.
  package let doorbells: DoorbellTable.View

  /// What moves the packets of a ring of kind ``RingKind/backend``.
  package var backend: BackendRing

  /// False when rings are stamped only on request (tunable `no_timestamp`).
  package let stampsAlways: Bool
}

/// What a sync did with one ring.
package enum SyncResult: UInt32, Sendable {
  /// The ring was synced.
  case done = 0
  /// Another thread was syncing it; nothing was done.
  case busy = 1
  /// The application's `head` or `cur` was out of place, and the ring has been reset.
  case reset = 2
  /// The backend failed, or the interface has gone.
  case failed = 3
}

/// What a sync asks of a backend beyond the ordinary (upstream: `NAF_FORCE_*`).
@usableFromInline
package struct SyncFlags: OptionSet, Sendable {
  @usableFromInline package let rawValue: UInt32

  @inlinable
  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Look for new packets even if no interrupt was seen (`NIOCRXSYNC`).
  @inlinable package static var forceRead: Self { Self(rawValue: 1) }
  /// Reclaim every completed slot, even if that costs a system call (`NIOCTXSYNC`).
  @inlinable package static var forceReclaim: Self { Self(rawValue: 2) }
}
