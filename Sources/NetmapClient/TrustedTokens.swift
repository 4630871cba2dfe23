internal import NetmapCore
internal import Synchronization

/// The tokens whose daemons this process has found to be root's or its own user's.
///
/// The verdict stays what it was in a process that then enters a user namespace in which the daemon's user has no
/// number. The kernel gives no cookie to a second socket, so nothing else can take a token's place.
enum TrustedTokens {
  private static let capacity = 4096
  private static let cookies = Mutex<Set<UInt64>>([])

  static func remember(_ token: CInt) {
    guard let cookie = Token.cookie(of: token) else { return }
    cookies.withLock { cookies in
      if cookies.count >= capacity { cookies = [] }
      cookies.insert(cookie)
    }
  }

  static func contains(_ token: CInt) -> Bool {
    guard let cookie = Token.cookie(of: token) else { return false }
    return cookies.withLock { $0.contains(cookie) }
  }
}
