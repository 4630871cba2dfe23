/// The versions of the layouts that a dump contains.
enum LayoutVersions {
  static let all = [SyncSegmentLayout.layoutVersion, SwitchLayout.layoutVersion]
}
