internal import Foundation

/// A shared object without code, data or dependencies, in a folder of its own.
///
/// Preloading it costs what the dynamic loader spends on any object: it opens, reads and maps the file, relocates it, and
/// looks through its symbol table for each symbol that the program needs.
struct EmptyObject: ~Copyable {
  let path: String

  /// Builds the object.
  ///
  /// - Parameter compiler: The C compiler, by path or name.
  /// - Throws: ``UsageError`` when the folder cannot be made or the compiler fails.
  init(compiler: String) throws(UsageError) {
    path = try Self.build(with: compiler)
  }

  deinit {
    unsafe unlink(path)
    unsafe rmdir((path as NSString).deletingLastPathComponent)
  }

  /// Returns the path of a new object in a new folder.
  private static func build(with compiler: String) throws(UsageError) -> String {
    let pattern = unsafe strdup("\(NSTemporaryDirectory())/preload-costs-XXXXXX")
    defer { unsafe free(pattern) }
    guard let pattern = unsafe pattern, let folder = unsafe mkdtemp(pattern) else {
      throw UsageError("a temporary folder: \(unsafe String(cString: strerror(errno)))")
    }
    let path = unsafe String(cString: folder) + "/empty.so"
    let status = try Child(
      arguments: [compiler, "-shared", "-nostdlib", "-x", "c", "/dev/null", "-o", path]
    ).run(preloading: nil).status
    guard status == 0 else { throw UsageError("\(compiler) cannot build a shared object") }
    return path
  }
}
